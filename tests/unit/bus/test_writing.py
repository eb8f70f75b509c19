"""Large values as new files."""

import errno
import os
import random
from pathlib import Path

import pytest

from afield._bus import writing
from afield._bus.writing import AT_ONCE, RESERVED, write_file


def test_parts_are_joined(tmp_path: Path) -> None:
    """More of them than one system call takes, empty ones and arrays of larger items among them."""
    parts = [bytes([i % 256]) * (i % 7) for i in range(3 * AT_ONCE)]
    wide = memoryview(bytes(range(64))).cast("I")

    size = write_file(tmp_path / "file", [*parts, wide])

    assert (tmp_path / "file").read_bytes() == b"".join(parts) + bytes(range(64))
    assert (tmp_path / "file").stat().st_size == size
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_room_is_reserved_for_a_large_file(tmp_path: Path) -> None:
    """It has the size of what is in it, not more."""
    block = random.Random(1).randbytes(RESERVED + 1)

    assert write_file(tmp_path / "file", [block]) == RESERVED + 1
    assert (tmp_path / "file").read_bytes() == block


def test_a_kernel_may_write_less_than_it_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on where it stopped, in the middle of a part too."""
    whole = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, views: whole(fd, [views[0][:3]]))

    assert write_file(tmp_path / "file", [b"abcdefgh", b"", b"ij"]) == 10
    assert (tmp_path / "file").read_bytes() == b"abcdefghij"


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """It is an error, and keeps what is in it."""
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", [b"new"])

    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_disk_that_is_too_full_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of the file."""

    def full(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "file", [bytes(RESERVED)])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", sorted(writing._NO_RESERVING))
def test_a_file_system_may_not_know_how_to_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Then it is written without."""

    def unknown(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", unknown)

    assert write_file(tmp_path / "file", [bytes(RESERVED)]) == RESERVED
