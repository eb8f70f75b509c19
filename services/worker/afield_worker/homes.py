"""The folders of containers: one fresh home each, with the source linked into it."""

import shutil
import time
from pathlib import Path
from typing import Final

import psutil

_NEW_S: Final = 60
"""Seconds that a folder may be without a process id."""


class Homes:
    """The homes of this worker's containers, below `<root>/<worker id>`, with the worker's process id beside them.

    All methods block.
    """

    def __init__(self, root: Path, worker_id: str) -> None:
        self.folder = root / worker_id
        if self.folder.exists() and not _in_use(self.folder):
            shutil.rmtree(self.folder)  # a worker of the same id was killed
        self.folder.mkdir(mode=0o700, parents=True)
        (self.folder / "pid").write_text(_mark(psutil.Process()))

    def create(self, container_id: str, bundle: Path | None) -> Path:
        """Return a new home. It is writable; the top-level entries of the bundle are links."""
        home = self.folder / container_id
        home.mkdir(mode=0o700)
        for entry in bundle.iterdir() if bundle is not None else ():
            (home / entry.name).symlink_to(entry)
        return home

    def remove(self, container_id: str) -> None:
        """Remove a home and everything that user code left in it; links are not followed."""
        shutil.rmtree(self.folder / container_id, ignore_errors=True)

    def close(self) -> None:
        """Remove all homes."""
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep(root: Path) -> int:
    """Remove the homes that workers left behind whose process is gone; returns of how many workers. Blocks."""
    gone = [folder for folder in root.iterdir() if not _in_use(folder)] if root.is_dir() else []
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)


def _in_use(folder: Path) -> bool:
    """Tell whether the worker of a folder lives, or has only just made it."""
    try:
        mark = (folder / "pid").read_text()
        return _mark(psutil.Process(int(mark.partition(" ")[0]))) == mark
    except (psutil.Error, ValueError):
        return False
    except OSError:
        return time.time() - folder.stat().st_mtime < _NEW_S


def _mark(process: psutil.Process) -> str:
    """Return what tells this process from another that gets the same number later."""
    return f"{process.pid} {process.create_time()}"
