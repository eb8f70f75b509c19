"""The standard output of C libraries, which has a buffer that Python's own streams know nothing of.

libc buffers it fully, because a container's output is a pipe: text would wait for 4 KiB of it, or for ever.
"""

import ctypes
from typing import Any, Final

_LINE_BUFFERED: Final = 1
"""_IOLBF, the same in glibc and musl."""

_buffer = ctypes.create_string_buffer(4096)
"""Ours: with PYTHONUNBUFFERED the interpreter has left libc one of a single byte, which each character leaves alone."""

_libc = ctypes.CDLL(None)
_quick = ctypes.PyDLL(None)
"""Keeps the interpreter's lock: for what neither waits nor locks."""


def _find_stdout() -> ctypes.c_void_p | None:
    try:
        stdout = ctypes.c_void_p.in_dll(_libc, "stdout")
        _pending.argtypes = [ctypes.c_void_p]
        _pending.restype = ctypes.c_size_t
    except (ValueError, AttributeError):
        return None  # neither glibc nor musl; its users flush for themselves
    return stdout


_pending: Any = getattr(_quick, "__fpending", None)
_stdout: Final = _find_stdout()


def buffer_by_line() -> None:
    """Have each line go out at once. Forks inherit it, so it is the template that asks, once for all containers."""
    if _stdout is not None:
        _libc.setvbuf(_stdout, _buffer, _LINE_BUFFERED, ctypes.c_size_t(len(_buffer)))


def flush() -> None:
    """Write what waits for the end of its line; costs next to nothing when there is none.

    Only of standard output: a flush of all files waits for any thread that reads from one.
    """
    if _stdout is not None and _pending(_stdout):
        _libc.fflush(_stdout)


def flush_all() -> None:
    """Write what any open file holds, as `exit` does, which a container does not call."""
    # Flushes without locks in glibc, so that a thread that reads from a file does not hold up the end.
    close_all = getattr(_libc, "fcloseall", None)
    if close_all is not None:
        close_all()
    else:
        _libc.fflush(None)
