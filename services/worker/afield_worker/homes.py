"""The folders of this worker: marked as its own, and removed when no such worker lives any more."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

_NEW_S: Final = 60
"""Seconds that a folder may be without a mark."""

_MARK: Final = ".owner"


class Homes:
    """The homes of this worker's containers, below `<root>/<worker id>`. All methods block."""

    def __init__(self, root: Path, worker_id: str) -> None:
        self.folder = claim(root, worker_id)

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


def claim(root: Path, worker_id: str) -> Path:
    """Make the folder `<root>/<worker id>`, marked with this process; one of a dead worker is removed before.

    Raises FileExistsError when a worker of this id lives.
    """
    folder = root / worker_id
    if folder.exists() and not _in_use(folder):
        shutil.rmtree(folder, onerror=_unless_gone)
    folder.mkdir(mode=0o700, parents=True)
    (folder / _MARK).write_text(_identify(psutil.Process()))
    return folder


def sweep(root: Path, on_gone: Callable[[Path], object] = lambda _: None) -> int:
    """Remove the folders below `root` whose worker is gone, after a call of `on_gone`; returns how many. Blocks."""
    gone = [folder for folder in root.iterdir() if not _in_use(folder)] if root.is_dir() else []
    for folder in gone:
        on_gone(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)


def _unless_gone(_function: object, _path: str, info: tuple[object, BaseException, object]) -> None:
    """For shutil.rmtree: go on where another worker, that sweeps, was faster."""
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]


def _in_use(folder: Path) -> bool:
    """Tell whether the worker of a folder lives, or has only just made it."""
    try:
        mark = (folder / _MARK).read_text()
        return _identify(psutil.Process(int(mark.partition(" ")[0]))) == mark
    except (psutil.Error, ValueError):
        return False
    except OSError:
        return _is_new(folder)


def _is_new(folder: Path) -> bool:
    """Tell whether a folder was made just now; one that another worker has swept was not."""
    try:
        return time.time() - folder.stat().st_mtime < _NEW_S
    except FileNotFoundError:
        return False


def _identify(process: psutil.Process) -> str:
    """Return what tells this process from another that gets the same number later."""
    return f"{process.pid} {process.create_time()}"
