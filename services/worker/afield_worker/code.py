"""The code of functions on this host: fetched once per digest, unpacked, kept for the next container."""

import hashlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from afield._bundle import unpack
from afield._bus.errors import BlobNotFoundError
from afield._wire.ids import random_body

KEEP_S: Final = 30 * 86_400
"""Seconds for which code that nobody uses is kept."""

Fetch = Callable[[str, Path], Awaitable[None]]
"""Stores the object of a name as a file (`BlobStore.get_to_file`)."""


class CodeMissingError(Exception):
    """Raised when the code of a function is not in the bucket CODE: it can never start."""


class CodeCache:
    """Bundles and pickled functions by their SHA-256. Several workers may share the folder."""

    def __init__(self, folder: Path, fetch: Fetch) -> None:
        self._folder = folder
        self._fetch = fetch
        self._locks: dict[str, anyio.Lock] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def bundle(self, digest: str) -> Path:
        """Return the folder with the files of a bundle. Raises CodeMissingError, BusError, OSError."""
        return await self._get(digest, digest, self._unpack)

    async def serialized(self, digest: str) -> Path:
        """Return the file with a pickled function. Raises CodeMissingError, BusError, OSError."""
        return await self._get(digest, _pickle(digest), self._place)

    def sweep(self, in_use: Iterable[str] = ()) -> int:
        """Remove what was not used for KEEP_S seconds, and what an interrupted fetch left; returns how many. Blocks.

        What containers have, by the digests `in_use`, counts as used now. Raises OSError.
        """
        for digest in in_use:
            _use(self._folder / digest)
            _use(self._folder / _pickle(digest))
        oldest = time.time() - KEEP_S
        return sum(self._retire(path) for path in self._folder.iterdir() if _is_older(path, oldest))

    async def _get(self, digest: str, name: str, make: Callable[[Path, Path], None]) -> Path:
        target = self._folder / name
        if _use(target):
            return target
        lock = self._locks.setdefault(name, anyio.Lock())
        try:
            async with lock:
                if not _use(target):
                    await self._make(digest, target, make)
        finally:
            if not lock.statistics().tasks_waiting:
                self._locks.pop(name, None)
        return target

    async def _make(self, digest: str, target: Path, make: Callable[[Path, Path], None]) -> None:
        scratch = self._folder / f".{random_body()}"
        try:
            await self._fetch(digest, scratch)
            await anyio.to_thread.run_sync(_verify, digest, scratch)
            await anyio.to_thread.run_sync(make, scratch, target)
        except BlobNotFoundError as error:
            raise CodeMissingError(
                f"the code {digest[:12]} of this function is not in the bucket CODE; publish the app again"
            ) from error
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_remove, scratch)

    def _unpack(self, archive: Path, target: Path) -> None:
        folder = archive.with_name(f"{archive.name}.d")
        folder.mkdir(mode=0o700)
        try:
            unpack(archive.read_bytes(), folder)
            self._place(folder, target)
        finally:
            _remove(folder)

    def _retire(self, path: Path) -> bool:
        """Remove something, unless another worker does. Under another name, since half of it would be taken for all."""
        retired = self._folder / f".{random_body()}"
        try:
            os.utime(path)  # while it is removed, it must not look as if nobody had touched it for long
            path.rename(retired)
        except FileNotFoundError:
            return False
        _remove(retired)
        return True

    def _place(self, made: Path, target: Path) -> None:
        """Give what is complete its name; somebody else may have been faster, with the same content."""
        try:
            made.rename(target)
        except OSError:
            if not target.exists():
                raise


def _pickle(digest: str) -> str:
    return f"{digest}.pickle"


def _is_older(path: Path, oldest: float) -> bool:
    """Tell whether it was last used before `oldest`; what is fetched just now may have got its name meanwhile."""
    try:
        return path.stat().st_mtime < oldest
    except FileNotFoundError:
        return False


def _use(path: Path) -> bool:
    """Tell whether it is there, and note that it was used."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _verify(digest: str, file: Path) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise CodeMissingError(f"expected code with the SHA-256 {digest}, the bucket CODE holds {found}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
