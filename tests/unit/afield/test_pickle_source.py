"""Large pickles, read as files."""

import pickle
from typing import Any

import pytest

from afield._pickle_source import HUGE_PAGE, LARGE, PickleSource, load_large, want_huge_pages
from afield.exception import DeserializationError
from afield.serialization import dumps, loads


def block(size: int) -> bytes:
    """Bytes that tell where they are."""
    return b"".join(i.to_bytes(4, "big") for i in range(size // 4))


@pytest.mark.parametrize("make", [bytes, bytearray, lambda data: data.decode("latin-1")])
@pytest.mark.parametrize("size", [LARGE - 64, LARGE, LARGE + 4, 3 * HUGE_PAGE + 4])
def test_large_objects_come_back(make: Any, size: int) -> None:
    """Whatever owns the memory, on both sides of the limit, and where it is no multiple of a page."""
    value = {"large": make(block(size)), "small": [1, "x", None], "again": make(block(size))}

    found = loads(dumps(value).join())

    assert found == value
    assert type(found["large"]) is type(value["large"])


def test_many_small_objects_come_back() -> None:
    """A pickle that is large because there is much in it."""
    value = [(i, str(i)) for i in range(200_000)]

    assert load_large(memoryview(pickle.dumps(value, 5))) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_any_protocol(protocol: int) -> None:
    """The old ones read lines."""
    value = [1, 2**80, "aé\n", 1.5, b"bytes", ValueError]

    assert load_large(memoryview(pickle.dumps(value, protocol))) == value


def test_a_large_pickle_that_is_cut_off_is_an_error() -> None:
    """Wherever the cut is."""
    whole = dumps([block(2 * LARGE), "tail"]).join()
    for size in (len(whole) - 1, len(whole) - LARGE // 2):
        with pytest.raises(DeserializationError, match="cut off or damaged"):
            loads(whole[:size])


def test_other_bytes_are_handed_over_without_copying() -> None:
    """What the unpickler reads by itself is the pickle's own memory."""
    whole = memoryview(b"abcdef")
    source = PickleSource(whole)

    assert source.read(2).obj is whole.obj
    into = bytearray(10)
    assert source.readinto(into) == 4
    assert bytes(into[:4]) == b"cdef"
    assert source.read(1).nbytes == 0
    assert source.readline() == b""


@pytest.mark.parametrize("size", [0, 100, HUGE_PAGE - 1, 5 * HUGE_PAGE + 3])
def test_huge_pages_leave_memory_as_it_is(size: int) -> None:
    """They are asked for only; what is there stays."""
    memory = bytearray(b"x") * size
    want_huge_pages(memoryview(memory))

    assert memory == b"x" * size
