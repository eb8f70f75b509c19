"""Payloads of the guest: inline or as files."""

import errno
import os
from pathlib import Path

import pytest

from afield._guest.payloads import PayloadError, read_payload, write_payload
from afield._wire.messages import BlobRef
from afield._wire.streams import INLINE_LIMIT
from afield.exception import InternalError, ResourceExhaustedError


def test_small_payloads_are_joined(tmp_path: Path) -> None:
    """No file is made."""
    value = write_payload([b"ab", memoryview(b"c")], 3, blob_dir=str(tmp_path), call_id="fc-a-0-1")

    assert value == b"abc"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 3, 3000])
def test_large_payloads_become_private_files(tmp_path: Path, count: int) -> None:
    """Any number of parts, empty ones among them; the file is named for its call, and for nobody else to read."""
    parts = [b"x" * (INLINE_LIMIT // count + 1), b""] * count
    size = sum(map(len, parts))

    ref = write_payload(parts, size, blob_dir=str(tmp_path), call_id="fc-a-0-1")

    assert isinstance(ref, BlobRef)
    assert (ref.tier, ref.size) == ("file", size)
    path = Path(ref.name)
    assert path.parent == tmp_path
    assert path.name.startswith("fc-a-0-1.")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"".join(parts)


def test_a_mapped_argument_is_writable_and_outlives_its_file(tmp_path: Path) -> None:
    """What user code writes goes to pages of its own."""
    path = tmp_path / "arg"
    path.write_bytes(b"x" * 300_000)
    view = read_payload(BlobRef(tier="file", name=str(path), size=300_000))
    assert isinstance(view, memoryview)

    view[0:1] = b"y"

    assert path.read_bytes()[:2] == b"xx"
    path.unlink()
    assert bytes(view[:2]) == b"yx"


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (BlobRef(tier="file", name="/nowhere/arg", size=1), "could not map /nowhere/arg"),
        (BlobRef(tier="file", name="/proc/version", size=1), "expected 1 bytes"),
        (BlobRef(tier="stream", name="x", size=1), "tier 'stream'"),
    ],
)
def test_an_argument_that_is_not_there_is_named(ref: BlobRef, message: str) -> None:
    """The error says what was expected."""
    with pytest.raises(PayloadError, match=message):
        read_payload(ref)


def test_a_payload_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    """A folder that is not there is the platform's fault."""
    with pytest.raises(PayloadError, match=r"could not write a value of 300,000 bytes to .*/no: ") as caught:
        write_payload([b"x" * 300_000], 300_000, blob_dir=str(tmp_path / "no"), call_id="fc-a-0-1")

    assert type(caught.value.told) is InternalError


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder, and what to do; nothing is left of the file."""

    def full(_fd: int, _buffers: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(PayloadError, match=r"No space left on device; free some space there") as caught:
        write_payload([b"x" * 300_000], 300_000, blob_dir=str(tmp_path), call_id="fc-a-0-1")

    assert type(caught.value.told) is ResourceExhaustedError
    assert str(tmp_path) in str(caught.value.told)
    assert list(tmp_path.iterdir()) == []
