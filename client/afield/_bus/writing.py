"""A large value as a new file: private, whole or not there at all."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

Bytes = bytes | bytearray | memoryview

AT_ONCE: Final = 512
"""Buffers in one system call (the kernel takes 1024)."""

RESERVED: Final = 32 * 2**20
"""Bytes from which room for a file is reserved first.

A disk that is too full then says so at once, and writing 100 MB took 29 ms in place of 55 (ext4, alternating). Below, what
is gained in writing is lost in the removal, which has blocks to give back.
"""

_NO_RESERVING: Final = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def write_file(path: Path | str, parts: Sequence[Bytes]) -> int:
    """Write the concatenation of `parts` to a new file that its owner alone may read; returns its size.

    Raises OSError, FileExistsError among them; nothing is left of the file after any error.
    """
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    size = sum(map(len, views))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if size >= RESERVED:
            _reserve(fd, size)
        _write_all(fd, views)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)
    return size


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in _NO_RESERVING:
            raise


def _write_all(fd: int, views: list[memoryview]) -> None:
    first = 0
    while first < len(views):
        written = os.writev(fd, views[first : first + AT_ONCE])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]
