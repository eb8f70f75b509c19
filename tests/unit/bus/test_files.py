"""The host-local tier of blobs."""

import os
from pathlib import Path

import pytest

from afield._bus import BlobCorruptError, BlobNotFoundError
from afield._bus.files import QUICK, FileTier
from afield._wire.messages import BlobRef


@pytest.fixture
def tier(tmp_path: Path) -> FileTier:
    """An empty folder of blobs on host `h`."""
    return FileTier(tmp_path / "blobs", "h")


def test_blob_comes_back(tier: FileTier) -> None:
    """A blob given in pieces comes back as one, mapped, and is still readable after its removal."""
    ref = tier.write([b"ab", bytearray(b""), memoryview(b"cd")], call_id="fc-s-0-1")
    assert (ref.tier, ref.size, ref.host) == ("file", 4, "h")
    view = tier.open(ref)
    tier.delete(ref)
    tier.delete(ref)
    assert bytes(view) == b"abcd"


def test_what_is_written_to_a_mapped_blob_is_its_readers_alone(tier: FileTier) -> None:
    """An array in it is writable without a copy, and whoever opens the blob again finds what was stored."""
    ref = tier.write([b"abcd"], call_id="fc-s-0-1")
    view = tier.open(ref)
    view[0:1] = b"x"
    assert bytes(view) == b"xbcd"
    assert bytes(tier.open(ref)) == b"abcd"


def test_many_and_large_pieces(tier: FileTier) -> None:
    """More pieces than one system call takes, and pieces that are arrays of larger items, are written whole."""
    pieces = [bytes([i % 256]) * (i % 7) for i in range(3000)]
    wide = memoryview(bytes(range(64))).cast("I")
    ref = tier.write([*pieces, wide], call_id="fc-s-0-1")
    assert bytes(tier.open(ref)) == b"".join(pieces) + bytes(range(64))


def test_empty_blob(tier: FileTier) -> None:
    """A blob of no bytes comes back empty."""
    assert bytes(tier.open(tier.write([], call_id="fc-s-0-1"))) == b""


def test_files_are_private_and_named_by_their_call(tier: FileTier, tmp_path: Path) -> None:
    """Only the owner may read a blob, and its name starts with the call's id."""
    ref = tier.write([b"x"], call_id="fc-s-0-1")
    path = tmp_path / "blobs" / ref.name
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ref.name.startswith("fc-s-0-1.")


@pytest.mark.parametrize("name", ["../x.y", "/etc/passwd", "a/b.c", "..", "fc", ".x", "a.", "a.b/../c"])
def test_name_cannot_leave_the_folder(tier: FileTier, name: str) -> None:
    """A reference with separators or without the form of a blob's name is refused."""
    with pytest.raises(ValueError, match="expected a blob name"):
        tier.open(BlobRef(tier="file", name=name, size=1, host="h"))


@pytest.mark.parametrize("call_id", ["", "a/b", "..", "a.b"])
def test_call_id_cannot_leave_the_folder(tier: FileTier, call_id: str) -> None:
    """A call id with separators is refused."""
    with pytest.raises(ValueError, match="call id"):
        tier.write([b"x"], call_id=call_id)


def test_other_tier_and_host_are_refused(tier: FileTier) -> None:
    """A reference of the stream tier, or of another host, cannot be opened here."""
    for ref in (
        BlobRef(tier="stream", name="a.b", size=1),
        BlobRef(tier="file", name="a.b", size=1, host="other"),
    ):
        with pytest.raises(ValueError, match="expected a file blob of host 'h'"):
            tier.open(ref)


def test_missing_and_damaged_blobs_are_errors(tier: FileTier, tmp_path: Path) -> None:
    """A blob that is gone, or has another size than its reference says, is an error that says so."""
    ref = tier.write([b"xyz"], call_id="fc-s-0-1")
    os.truncate(tmp_path / "blobs" / ref.name, 2)
    with pytest.raises(BlobCorruptError, match=r"expected 3 bytes.*found 2"):
        tier.open(ref)
    tier.delete(ref)
    with pytest.raises(BlobNotFoundError, match="any more"):
        tier.open(ref)


def test_adopted_file_is_moved(tier: FileTier, tmp_path: Path) -> None:
    """A file that lies there already becomes a blob without copying."""
    source = tmp_path / "result"
    source.write_bytes(b"abc")
    ref = tier.adopt(source, call_id="fc-s-0-1")
    assert not source.exists()
    assert bytes(tier.open(ref)) == b"abc"


def test_sweep_removes_the_old_and_only_them(tier: FileTier, tmp_path: Path) -> None:
    """A sweep removes blobs older than asked for."""
    old, new = (tier.write([b"x"], call_id=f"fc-s-0-{i}") for i in (1, 2))
    os.utime(tmp_path / "blobs" / old.name, (1, 1))
    assert tier.sweep(3600) == 1
    assert bytes(tier.open(new)) == b"x"
    assert os.listdir(tmp_path / "blobs") == [new.name]


def test_only_what_is_quick_is_removed_at_once(tier: FileTier, tmp_path: Path) -> None:
    """A large file, and a blob that is none of this host's, are left for those who may wait."""
    small, large = (tier.write([bytes(size)], call_id="fc-s-0-1") for size in (QUICK - 1, QUICK))
    elsewhere = BlobRef(tier="file", name=small.name, size=1, host="other")

    assert [tier.delete_if_quick(ref) for ref in (elsewhere, large, small, small)] == [
        False,
        False,
        True,
        True,
    ]
    assert os.listdir(tmp_path / "blobs") == [large.name]


def test_blobs_of_a_call_go_together(tier: FileTier) -> None:
    """All blobs of one call are removed, those of a call whose id begins alike are not."""
    one = [tier.write([b"x"], call_id="fc-s-0-1") for _ in range(3)]
    other = tier.write([b"x"], call_id="fc-s-0-10")
    assert tier.delete_call("fc-s-0-1") == len(one)
    assert bytes(tier.open(other)) == b"x"


def test_failed_write_leaves_nothing(tier: FileTier, tmp_path: Path) -> None:
    """When writing fails, no file is left."""
    with pytest.raises(TypeError):
        tier.write([b"ok", object()], call_id="fc-s-0-1")  # type: ignore[list-item]
    assert os.listdir(tmp_path / "blobs") == []
