"""The folders of containers: one fresh home each, with the source linked into it."""

import os
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
        (self.folder / "pid").write_text(str(os.getpid()))

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
        pid = int((folder / "pid").read_text())
    except (OSError, ValueError):
        return time.time() - folder.stat().st_mtime < _NEW_S
    return pid != os.getpid() and psutil.pid_exists(pid)
