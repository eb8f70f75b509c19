"""What containers write, made readable when several of them write at once. Pure: clocks are passed in, in seconds.

As long as one container talks, its output is passed on as it came. From the second one on, lines carry a label, and a
line holds what one container wrote. Containers send their output in pieces that can end inside a line, so an unfinished
line waits for its rest for a moment. After that it is shown if no other line is open, else held until it ends. Whole
lines do not wait, but for the rest of a line that is open since a moment ago; an older one they end.
"""

import codecs
import time
from typing import Final, Literal, NamedTuple

from afield._wire.messages import LogRecord

Stream = Literal["stdout", "stderr"]
Source = tuple[str, Stream]

HOLD_S: Final = 0.2
"""How long the rest of an unfinished line is waited for."""
MOST_HELD: Final = 64 * 1024
"""Characters of one source that are held back."""


class Piece(NamedTuple):
    """Text to write to one of this process's own streams."""

    stream: Stream
    text: str


class _Held(NamedTuple):
    """What is not shown yet: whole lines behind somebody's open one, then an unfinished line, or one of the two."""

    prefix: str
    """What its lines will start with."""
    text: str
    since: float
    """When its unfinished line began to wait."""
    last: float
    """When it last grew."""


class LogLines:
    """The state of one run's output. `timestamps`: each line starts with the time at which it was written."""

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._talkers: set[str] = set()
        self._decoders: dict[Source, codecs.IncrementalDecoder] = {}
        self._open: Source | None = None
        self._open_at = 0.0
        """When the open line last grew."""
        self._held: dict[Source, _Held] = {}

    def add(self, container_id: str, label: str, record: LogRecord, now: float) -> list[Piece]:
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
            self._open, self._open_at = (None if text.endswith("\n") else source), now
            return [Piece(stream, text)]
        held = self._held.pop(source, None)
        if held is not None:
            text = held.text + text
        since = now if held is None or "\n" in text else held.since
        return self._show(source, _Held(prefix, text, since, now), now)

    def due(self) -> float | None:
        """Return when `release` has something to show next; None if only new output can bring that about."""
        if self._open is not None:
            return self._open_at + HOLD_S if self.blocked else None
        return min((held.since + HOLD_S for held in self._held.values()), default=None)

    def release(self, now: float) -> list[Piece]:
        """Return what has waited long enough."""
        if self._open is not None:
            return self.unblock() if self.blocked and now >= self._open_at + HOLD_S else []
        for source, held in self._held.items():
            if now >= held.since + HOLD_S:
                del self._held[source]
                return self._show_rest(source, held)
        return []

    @property
    def blocked(self) -> bool:
        """Whether whole lines wait for the rest of an open one."""
        return any("\n" in held.text for held in self._held.values())

    def unblock(self) -> list[Piece]:
        """Return the whole lines that wait: the open line is ended for their sake."""
        pieces: list[Piece] = []
        for source, held in list(self._held.items()):
            if "\n" in held.text:
                del self._held[source]
                pieces += self._show_lines(source, held)
        return pieces

    def finish(self) -> list[Piece]:
        """Return what is held, and end the open line."""
        pieces: list[Piece] = []
        for source, held in self._held.items():
            pieces += self._show_lines(source, held, broken=True)
        self._held.clear()
        pieces += self._interrupt(("", "stdout"))
        return pieces

    def _prefix(self, label: str, at: float) -> str:
        clock = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(at)) if self._timestamps else ""
        return clock + (f"[{label}] " if len(self._talkers) > 1 else "")

    def _show(self, source: Source, new: _Held, now: float) -> list[Piece]:
        ours = self._open in (None, source)
        long = len(new.text) > MOST_HELD
        if "\n" in new.text and (ours or long or now >= self._open_at + HOLD_S):
            pieces = self._show_lines(source, new)
            return pieces + self.unblock() if self._open is None else pieces
        if self._open == source or (ours and len(self._talkers) == 1):
            return self._show_rest(source, new)
        if long:
            return self._show_lines(source, new, broken=True) + self.unblock()
        self._held[source] = new
        return []

    def _show_lines(self, source: Source, new: _Held, *, broken: bool = False) -> list[Piece]:
        """Show whole lines, and hold what follows them; `broken`: the end of the text ends a line, too."""
        whole, _, rest = (new.text, "", "") if broken else new.text.rpartition("\n")
        pieces = self._interrupt(source)
        body = whole.removesuffix("\n") if broken else whole
        body = body.replace("\n", "\n" + new.prefix).replace("\r", "\r" + new.prefix) + "\n"
        pieces.append(Piece(source[1], self._start(source, new.prefix) + body))
        self._open = None
        if rest and len(self._talkers) == 1:
            pieces += self._show_rest(source, new._replace(text=rest))
        elif rest:
            self._held[source] = new._replace(text=rest)
        return pieces

    def _show_rest(self, source: Source, new: _Held) -> list[Piece]:
        text = self._start(source, new.prefix) + new.text.replace("\r", "\r" + new.prefix)
        self._open, self._open_at = source, new.last
        return [Piece(source[1], text)]

    def _start(self, source: Source, prefix: str) -> str:
        return "" if self._open == source else prefix

    def _interrupt(self, source: Source) -> list[Piece]:
        """End the open line of somebody else."""
        if self._open is None or self._open == source:
            return []
        stream, self._open = self._open[1], None
        return [Piece(stream, "\n")]
