"""The host-local tier of blobs: files in a folder that all processes of a host share."""

import mmap
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from afield._bus.errors import BlobCorruptError, BlobNotFoundError
from afield._bus.writing import Bytes, write_file
from afield._wire.ids import is_token
from afield._wire.messages import BlobRef

QUICK: Final = 2**20
"""Bytes below which an event loop may remove a file itself. For 100 MB the kernel takes 10 to 20 ms."""


class FileTier:
    """Blobs as files `<call id>.<random>` in `root`, readable by their owner alone.

    `host` is the id of this host, put into the references: only its processes can open them. All methods block;
    for large values call them in a thread.
    """

    def __init__(self, root: Path, host: str) -> None:
        self._root = root
        self._host = host
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, buffers: Sequence[Bytes], *, call_id: str) -> BlobRef:
        """Store the concatenation of `buffers`. Raises ValueError for a call id that is none, OSError."""
        path = self._fresh(call_id)
        size = write_file(path, buffers)
        return BlobRef(tier="file", name=path.name, size=size, host=self._host)

    def adopt(self, source: Path, *, call_id: str) -> BlobRef:
        """Take over a file that lies on the same file system, without copying. Raises as `write`."""
        path = self._fresh(call_id)
        source.chmod(0o600)
        source.rename(path)
        return BlobRef(tier="file", name=path.name, size=path.stat().st_size, host=self._host)

    def path(self, ref: BlobRef) -> Path:
        """Return where a blob lies.

        Raises ValueError for a reference of another tier or host, or a name that would leave the folder.
        """
        if ref.tier != "file" or ref.host != self._host:
            raise ValueError(f"expected a file blob of host {self._host!r}, got {ref.tier!r} of {ref.host!r}")
        call_id, dot, rest = ref.name.partition(".")
        if not dot or not is_token(call_id) or not is_token(rest):
            raise ValueError(f"expected a blob name like '<call id>.<random>', got {ref.name!r}")
        return self._root / ref.name

    def open(self, ref: BlobRef) -> memoryview:
        """Return the blob's bytes, mapped; they stay valid after `delete`, and what is written goes to copies of pages.

        Raises BlobNotFoundError, BlobCorruptError when the size is another.
        """
        path = self.path(ref)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != ref.size:
                    raise BlobCorruptError(f"expected {ref.size:,} bytes in blob {ref.name}, found {size:,}")
                if size == 0:
                    return memoryview(b"")
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except FileNotFoundError:
            raise BlobNotFoundError(f"blob {ref.name} is not in {self._root} (any more)") from None

    def delete(self, ref: BlobRef) -> None:
        """Remove a blob; one that is gone already is fine."""
        self.path(ref).unlink(missing_ok=True)

    def delete_if_quick(self, ref: BlobRef) -> bool:
        """Remove a blob of this host unless that may take the kernel long (see QUICK); tells whether it was done."""
        if ref.size >= QUICK or ref.tier != "file" or ref.host != self._host:
            return False
        self.delete(ref)
        return True

    def delete_call(self, call_id: str) -> int:
        """Remove all blobs of a call; returns how many there were."""
        if not is_token(call_id):
            raise ValueError(f"expected a call id, got {call_id!r}")
        return sum(_remove(path) for path in self._root.glob(f"{call_id}.*"))

    def sweep(self, older_than_s: float) -> int:
        """Remove blobs written more than `older_than_s` seconds ago; returns how many."""
        oldest = time.time() - older_than_s
        return sum(_remove(path) for path in self._old(oldest))

    def _old(self, oldest: float) -> Iterator[Path]:
        with os.scandir(self._root) as entries:
            for entry in entries:
                try:
                    if (
                        entry.is_file(follow_symlinks=False)
                        and entry.stat(follow_symlinks=False).st_mtime < oldest
                    ):
                        yield Path(entry.path)
                except FileNotFoundError:  # somebody else was faster
                    continue

    def _fresh(self, call_id: str) -> Path:
        if not is_token(call_id):
            raise ValueError(f"expected a call id without separators, got {call_id!r}")
        return self._root / f"{call_id}.{secrets.token_hex(12)}"


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
