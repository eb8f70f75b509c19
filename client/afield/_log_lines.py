"""What containers write, made readable when several of them write at once. Pure.

As long as one container talks, its output is passed on as it came. From the second one on, lines carry a label, and a
line holds what one container wrote: a piece without a newline is shown at once if no other line is open, else held
until its line ends. A whole line does not wait: it ends the open one.
"""

import codecs
import time
from typing import Final, Literal, NamedTuple

from afield._wire.messages import LogRecord

Stream = Literal["stdout", "stderr"]
Source = tuple[str, Stream]

MOST_HELD: Final = 64 * 1024
"""Characters of an unfinished line that are held back."""


class Piece(NamedTuple):
    """Text to write to one of this process's own streams."""

    stream: Stream
    text: str


class LogLines:
    """The state of one run's output. `timestamps`: each line starts with the time at which it was written."""

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._talkers: set[str] = set()
        self._decoders: dict[Source, codecs.IncrementalDecoder] = {}
        self._open: Source | None = None
        self._held: dict[Source, tuple[str, str]] = {}
        """Unfinished lines that are not shown yet: the prefix that they will get, and the text."""

    def add(self, container_id: str, label: str, record: LogRecord) -> list[Piece]:
        """Return what to write for a record of a container; `label` is what its lines start with, if they need to."""
        stream: Stream = "stdout" if record.stream == "stdout" else "stderr"
        source = (container_id, stream)
        decoder = self._decoders.get(source)
        if decoder is None:
            decoder = self._decoders[source] = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(record.data)
        if not text:
            return []
        self._talkers.add(container_id)
        prefix = self._prefix(label, record.at)
        if not prefix:
            self._open = None if text.endswith("\n") else source
            return [Piece(stream, text)]
        return self._lines(source, prefix, self._held.pop(source, ("", ""))[1] + text)

    def _prefix(self, label: str, at: float) -> str:
        clock = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(at)) if self._timestamps else ""
        return clock + (f"[{label}] " if len(self._talkers) > 1 else "")

    def _lines(self, source: Source, prefix: str, text: str) -> list[Piece]:
        whole, newline, rest = text.rpartition("\n")
        pieces: list[Piece] = []
        if newline:
            pieces += self._interrupt(source)
            body = whole.replace("\n", "\n" + prefix) + "\n"
            pieces.append(Piece(source[1], self._start(source, prefix) + body.replace("\r", "\r" + prefix)))
            self._open = None
        if rest and self._open in (None, source):
            text = self._start(source, prefix) + rest.replace("\r", "\r" + prefix)
            pieces.append(Piece(source[1], text))
            self._open = source
        elif rest:
            self._held[source] = (prefix, rest)
            if len(rest) > MOST_HELD:
                del self._held[source]
                pieces += self._lines(source, prefix, rest + "\n")
        return pieces

    def _start(self, source: Source, prefix: str) -> str:
        return "" if self._open == source else prefix

    def _interrupt(self, source: Source) -> list[Piece]:
        """End the open line of somebody else."""
        if self._open is None or self._open == source:
            return []
        stream, self._open = self._open[1], None
        return [Piece(stream, "\n")]

    def finish(self) -> list[Piece]:
        """Return what is held, and end the open line."""
        pieces: list[Piece] = []
        for source, (prefix, text) in self._held.items():
            pieces += self._interrupt(source)
            pieces.append(Piece(source[1], prefix + text + "\n"))
        self._held.clear()
        pieces += self._interrupt(("", "stdout"))
        return pieces
