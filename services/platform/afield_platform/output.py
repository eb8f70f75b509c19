"""What the processes of a platform say: kept in files of bounded size, the last lines at hand."""

import os
import queue
import threading
from collections import deque
from pathlib import Path
from typing import Final

FILE_LIMIT: Final = 10 * 2**20
"""Bytes of a log file; a full one is kept once more under the name `<file>.1`."""
TAIL_LINES: Final = 60
LINE_LIMIT: Final = 64 * 2**10
"""Bytes without a newline after which a line is taken as ended."""


class Echo:
    """Copies lines to a descriptor from a thread of its own, so that a stopped terminal stops nothing else.

    Lines that do not fit into the queue are dropped and counted; the count is written as soon as there is room.
    """

    def __init__(self, fd: int, bound: int = 10_000) -> None:
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(bound)
        self._dropped = 0
        self._thread = threading.Thread(target=self._copy, name="echo", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Have a line written, soon."""
        try:
            if self._dropped:
                self._lines.put_nowait(b"(%d lines dropped: nobody was reading)\n" % self._dropped)
                self._dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued, for `timeout` seconds at most."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return  # nobody reads, and the thread is a daemon
        self._thread.join(timeout)

    def _copy(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                return  # the reader has gone (`| head`): the platform goes on, the lines are in the files


class Output:
    """The output of one process, line by line."""

    def __init__(self, path: Path, echo: Echo | None = None) -> None:
        self.path = path
        self.tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._echo = echo
        self._partial = b""
        self._file = self._open()

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of output; return the lines that it completed, without their newlines."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_LIMIT:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self._keep(line)
        return lines

    def close(self) -> None:
        """Keep an unfinished last line too, and close the file."""
        if self._partial:
            self._keep(self._partial)
        self._partial = b""
        os.close(self._file)

    def tail_text(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines as text."""
        return b"\n".join(list(self.tail)[-lines:]).decode(errors="replace")

    def _keep(self, line: bytes) -> None:
        self.tail.append(line)
        if self._echo is not None:
            self._echo.write(line + b"\n")
        if os.fstat(self._file).st_size > FILE_LIMIT:
            os.close(self._file)
            os.replace(self.path, self.path.with_name(self.path.name + ".1"))
            self._file = self._open()
        try:
            os.write(self._file, line + b"\n")
        except OSError:
            return  # a full disk must not end the platform; the tail and the echo still have the line

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
