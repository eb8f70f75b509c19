"""Descriptors 0 to 2 of a container, and Python's streams on them."""

import fcntl
import io
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any

from afield._guest import cstdio

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Streams:
    """Standard input, output and error, which work again for the next input when user code has closed them."""

    def __init__(self, high: int) -> None:
        """Open Python's streams on descriptors 0 to 2; copies of them get numbers from `high` on."""
        self.keep(high)
        os.register_at_fork(after_in_child=self.let_go)
        poller = select.poll()
        for fd in self._spares:
            poller.register(fd, 0)  # only for POLLNVAL, which comes unasked
        self._poller = poller
        self._lock = threading.Lock()
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
        # Unbuffered: output is live without a newline, and survives a crash.
        self._stdout = sys.stdout = _text(1)
        self._stderr = sys.stderr = _text(2)
        # What code falls back on that replaced the others for a while.
        vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)

    def keep(self, high: int) -> None:
        """Hold copies of what descriptors 0 to 2 are now, with numbers from `high` on."""
        self._spares = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in (0, 1, 2)}

    def settle(self) -> None:
        """After user code ran: open again what it has closed, and pass on what C libraries hold back.

        For any thread, while nothing can raise in it.
        """
        with self._lock:
            events = self._poller.poll(0)
            if events:
                self._restore([fd for fd, event in events if event & select.POLLNVAL])
            if self._stdout.closed:
                self._stdout = _renew(self._stdout, 1)
            if self._stderr.closed:
                self._stderr = _renew(self._stderr, 2)
        cstdio.flush()

    def _restore(self, closed: list[int]) -> None:
        for fd in closed:
            try:
                os.dup2(self._spares[fd], fd)
            except (KeyError, OSError):
                self._poller.unregister(fd)  # user code closed the copy too: the stream stays closed

    def let_go(self) -> None:
        """In a process that was forked, or is a container no more: hold nothing open that user code closes."""
        for fd in self._spares.values():
            _close(fd)
        self._spares = {}


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # user code closed it before the fork


class _Unbuffered(io.FileIO):
    """Descriptor 1 or 2. A write is whole: neither a signal in the middle of it nor a full pipe loses anything."""

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            # The pipe is shared with subprocesses, some of which make it non-blocking: then this may be None.
            written: int | None = super().write(view[done:])
            if written is None:
                waiter = select.poll()
                waiter.register(self, select.POLLOUT)
                waiter.poll()
            else:
                done += written
        return done


def _text(fd: int) -> io.TextIOWrapper:
    raw: Any = _Unbuffered(fd, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _renew(closed: io.TextIOWrapper, fd: int) -> io.TextIOWrapper:
    """Put a new stream wherever `sys` still has the closed one, and return it."""
    stream = _text(fd)
    vars(sys).update({name: stream for name, value in list(vars(sys).items()) if value is closed})
    return stream
