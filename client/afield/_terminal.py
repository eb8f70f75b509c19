"""Writes to the user's streams, from a thread of its own: a pipe that nobody reads must not stop the event loop.

On a terminal there is also a block of status lines at the bottom. It is taken away before anything is written, by us
or by the user's own prints, and painted again below it, but only at the start of a line: an unfinished line of output
stays as it is, and the block waits until it ends.
"""

import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TextIO

from afield._log_lines import Piece, Stream
from afield._stdio import write_replaced

MOST_WAITING: Final = 64 * 2**20
"""Characters that may wait for a slow terminal or pipe; more are dropped, with a notice."""
TICK_S: Final = 0.1

Painter = Callable[[int, float], list[str]]
"""Returns the lines of the status block for a width in columns and a clock in seconds; none for no block."""


class Terminal:
    """See the module. `painter` is given only where a block of status lines is wanted, on a terminal."""

    def __init__(self, painter: Painter | None = None) -> None:
        self._painter = painter
        self._queue = threading.Condition()
        self._screen = threading.RLock()
        """Held while something is written. Never taken while the queue's lock is held: writing can block for long."""
        self._waiting: deque[Piece] = deque()
        self._size = 0
        self._dropped = 0
        self._accepted = 0
        self._written = 0
        self._closing = False
        self._painted = 0
        self._line_start = True
        self._next_paint = 0.0
        self._alarm: tuple[float, Callable[[], None]] | None = None
        self._broken: set[Stream] = set()
        self.failure: OSError | None = None
        """Why standard output took no more, other than for want of a reader; what came after it was dropped."""
        self._real: dict[Stream, TextIO] = {}
        self._thread = threading.Thread(target=self._run, name="afield-output", daemon=True)

    def __enter__(self) -> Self:
        """Begin to write; where there is a block, the user's prints go through us from now on."""
        if self._painter is not None:
            for stream in ("stdout", "stderr"):
                real = getattr(sys, stream)
                if real is not None and real.isatty():
                    self._real[stream] = real
                    setattr(sys, stream, _Shared(self, stream, real))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, and give the streams back."""
        with self._queue:
            self._closing = True
            self._queue.notify_all()
        self._thread.join()
        for stream, real in self._real.items():
            if isinstance(getattr(sys, stream), _Shared):
                setattr(sys, stream, real)

    def put(self, pieces: list[Piece]) -> None:
        """Write these soon. Never blocks."""
        with self._queue:
            for piece in pieces:
                if self._size + len(piece.text) > MOST_WAITING:
                    self._dropped += len(piece.text)
                    continue
                self._waiting.append(piece)
                self._size += len(piece.text)
                self._accepted += 1
            self._queue.notify_all()

    def repaint(self) -> None:
        """The status has changed a lot: show it soon."""
        if self._painter is not None:
            with self._queue:
                self._next_paint = 0.0
                self._queue.notify_all()

    def call_at(self, when: float | None, function: Callable[[], None]) -> None:
        """Call a function, once, at a time of the monotonic clock, on the thread that writes. In place of an earlier one.

        `when` None calls nothing. It is not called any more once the block ends.
        """
        with self._queue:
            self._alarm = None if when is None else (when, function)
            self._queue.notify_all()

    @property
    def idle(self) -> bool:
        """Whether everything that was put has been written."""
        return self._written >= self._accepted

    def flush(self) -> None:
        """Block until everything that was put so far has been written."""
        if self.idle:
            return
        with self._queue:
            until = self._accepted
            self._queue.wait_for(lambda: self._written >= until)

    def write_through(self, stream: Stream, text: str) -> int:
        """Write at once, in the caller's thread: a print of the user's."""
        with self._screen:
            self._erase()
            return self._write(stream, text)

    # -- the thread --

    def _run(self) -> None:
        while True:
            self._ring()
            with self._queue:
                if not self._waiting and not self._closing:
                    self._queue.wait(self._pause())
                count, piece = self._take()
                last = self._closing and not self._waiting
            with self._screen:
                if piece is not None:
                    self._erase()
                    self._write(*piece)
                if last:
                    self._erase()
                else:
                    self._paint()
            with self._queue:
                self._written += count
                self._queue.notify_all()
            if last:
                return

    def _pause(self) -> float | None:
        """Return for how many seconds there is nothing to do, unless something is put."""
        pauses = [] if self._painter is None else [TICK_S]
        if self._alarm is not None:
            pauses.append(max(0.0, self._alarm[0] - time.monotonic()))
        return min(pauses, default=None)

    def _ring(self) -> None:
        with self._queue:
            alarm = self._alarm
            if alarm is None or time.monotonic() < alarm[0] or self._closing:
                return
            self._alarm = None
        alarm[1]()

    def _take(self) -> tuple[int, Piece | None]:
        """Return everything that goes to the same stream next, as one piece, and how many pieces it was."""
        if not self._waiting:
            return 0, None
        stream = self._waiting[0].stream
        texts: list[str] = []
        while self._waiting and self._waiting[0].stream == stream:
            texts.append(self._waiting.popleft().text)
            self._size -= len(texts[-1])
        count = len(texts)
        if self._dropped and not self._waiting:
            texts.append(
                f"\n[{self._dropped:,} characters of output were dropped: they came faster than they were shown]\n"
            )
            self._dropped = 0
        return count, Piece(stream, "".join(texts))

    def _write(self, stream: Stream, text: str) -> int:
        target: Any = self._real.get(stream) or getattr(sys, stream)
        if target is None or stream in self._broken:
            return len(text)
        try:
            write_replaced(target, text)
            target.flush()
        except (BrokenPipeError, ValueError):
            # A closed pipe (`| head`) or file: nobody reads it any more, which is the reader's right.
            self._broken.add(stream)
        except OSError as error:
            self._broken.add(stream)
            if stream == "stdout":  # that of standard error could be told nowhere
                self.failure = self.failure or error
        if text:
            self._line_start = text.endswith("\n")
        return len(text)

    # -- the block --

    def _paint(self) -> None:
        now = time.monotonic()
        if self._painter is None or not self._line_start or self._closing or now < self._next_paint:
            return
        columns = shutil.get_terminal_size().columns
        lines = self._painter(columns, now)
        self._erase()
        if lines:
            self._raw("\n".join(lines))
            self._painted = len(lines)
        self._next_paint = now + TICK_S * 0.9

    def _erase(self) -> None:
        if self._painted:
            self._raw("\r\x1b[2K" + "\x1b[1A\x1b[2K" * (self._painted - 1))
            self._painted = 0
            self._next_paint = 0.0

    def _raw(self, text: str) -> None:
        target = self._real.get("stderr") or self._real.get("stdout")
        if target is None:
            return
        try:
            target.write(text)
            target.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._painter = None


class _Shared:
    """Stands for a stream of the user's while a status block may be on the screen."""

    def __init__(self, terminal: Terminal, stream: Stream, real: TextIO) -> None:
        self._terminal = terminal
        self._stream: Stream = stream
        self._real = real

    def write(self, text: str) -> int:
        """Write above the block."""
        return self._terminal.write_through(self._stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write above the block."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Everything is flushed as it is written."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
