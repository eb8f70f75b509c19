"""The output pipes of a container: stdout and stderr, read on the event loop."""

import array
import asyncio
import fcntl
import os
import termios
from collections.abc import Callable
from typing import Final

from afield_worker.runners.base import Stream

PIPE_SIZE: Final = 256 * 1024
"""Bytes that the kernel holds for each pipe, so that user code that prints much rarely waits for us."""

READ_SIZE: Final = 64 * 1024


class OutputPipe:
    """The reading end of one pipe."""

    def __init__(self, fd: int, stream: Stream, on_output: Callable[[Stream, bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._stream: Stream = stream
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._held = array.array("i", [0])

    def resume(self) -> None:
        """Read whenever there is something."""
        if self._open:
            self._loop.add_reader(self._fd, self._read)

    def pause(self) -> None:
        """Leave what comes to the pipe, which blocks its writers when it is full."""
        if self._open:
            self._loop.remove_reader(self._fd)

    def drain(self) -> None:
        """Read what the pipe holds now, and no more: its writers may be quicker than we are."""
        if not self._open:
            return
        fcntl.ioctl(self._fd, termios.FIONREAD, self._held)
        left = self._held[0]
        while left > 0 and self._open:
            left -= self._read()

    def finish(self) -> None:
        """Read to the end, now that nobody writes any more, and close."""
        while self._open and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Close the pipe; what it still holds is lost."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _read(self) -> int:
        """Read once and pass it on; return how many bytes there were."""
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return 0
        if not data:  # every writer has closed it
            self.close()
            return 0
        self._on_output(self._stream, data)
        return len(data)


def make_pipe() -> tuple[int, int]:
    """Return (reading end, writing end) of a pipe of PIPE_SIZE, or of what the kernel grants."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except PermissionError:
        pass  # this user has many pipes already: the usual 64 KiB, or less, will do
    return reader, writer
