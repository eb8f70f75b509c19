"""A large pickle in memory, as the file that an unpickler reads.

`pickle.loads` copies a large `bytes` into memory that it has just been given, a page fault for every 4 KiB: 100 MB from
a mapped file took 50 to 120 ms. An unpickler that reads a file asks for the bytes of a large object in place; before they are
copied the kernel is asked for huge pages there, and the same takes 10 to 25 ms. What else is in the pickle is handed over
without copying.
"""

import ctypes
import mmap
import pickle
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGE: Final = 2 * 2**20
"""Bytes from which a pickle is worth it."""

HUGE_PAGE: Final = 2 * 2**20
"""Bytes of a huge page (x86-64, and arm64 with pages of 4 KiB)."""

PIECE: Final = 2**20
"""Bytes copied at once: the interpreter's lock is held meanwhile, and other threads of the process wait for it."""

_LINE: Final = 256

_WANT_HUGE_PAGES: Final = getattr(mmap, "MADV_HUGEPAGE", None)
"""Linux has it."""

_libc: Final = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def load_large(pickled: memoryview, buffers: Iterable[Any] = ()) -> Any:
    """Return the object of a pickle. Raises what `pickle.loads` raises."""
    source: Any = PickleSource(pickled)  # that `read` returns views is enough for the unpickler in C
    return pickle.Unpickler(source, buffers=buffers).load()


class PickleSource:
    """The file: `read` gives views of the pickle, `readinto` copies."""

    __slots__ = ("_left",)

    def __init__(self, pickled: memoryview) -> None:
        self._left = pickled

    def read(self, size: int) -> memoryview:
        """Return a view of the next bytes, fewer than `size` at the end."""
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def readline(self) -> bytes:
        """Return the next bytes up to a line feed, and with it: numbers and names of old protocols."""
        line = b""
        while len(self._left) and not line.endswith(b"\n"):
            ahead = bytes(self._left[:_LINE])
            line += self.read(ahead.find(b"\n") + 1 or len(ahead))
        return line

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill `buffer`; returns the number of bytes, fewer than it has at the end."""
        into = memoryview(buffer).cast("B")
        taken = self.read(len(into))
        size = len(taken)
        want_huge_pages(into)
        for at in range(0, size, PIECE):
            end = min(at + PIECE, size)
            into[at:end] = taken[at:end]
        return size


def want_huge_pages(memory: memoryview) -> None:
    """Ask for huge pages in what lies in `memory`, which has not been written to. A kernel without them ignores it."""
    if len(memory) < HUGE_PAGE or _WANT_HUGE_PAGES is None:
        return
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    first = -(-start // HUGE_PAGE) * HUGE_PAGE
    end = (start + len(memory)) // HUGE_PAGE * HUGE_PAGE
    if end > first:
        _libc.madvise(first, end - first, _WANT_HUGE_PAGES)
