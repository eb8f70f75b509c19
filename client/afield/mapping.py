"""The core of a map: which inputs to ask for, how to pack them, what came back, what may be handed out.

Pure: no clock, no I/O. The shell (`_map_run.py`) tells it what happened and carries out what it returns:

- `demand()` says how many more inputs the source should give; `feed()` takes them, `exhausted()` ends them.
- `due(now)` returns the packs to publish now; `next_due` says when to ask again though nothing has happened.
- `settle(...)` takes results (a second result of an input is dropped); `take()` hands out what may go to the caller.

Bounds, whatever the source and the caller do: at most `WINDOW` inputs are in flight (asked for, held or without a
result), at most `BACKLOG` are between source and caller, and no more is asked for while `BACKLOG_BYTES` of results wait.

Pack size aims at `TARGET_S` of work. It starts at 1, at most doubles from one finished pack to the next, follows
slower inputs at once and quicker ones slowly: a long pack of slow inputs would hold up the map, a short one of
quick inputs costs a little. While packs could still grow, only `PROBE` of them go out until a result comes, and as many
again after each `HOLD_S` seconds without any: the first results of a quick function come within that time, a cold start
included, and say how large the packs can be. A slow function loses nothing: what is out keeps more containers busy than
come up by then.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from afield._wire.messages import BlobRef, InputResult
from afield._wire.subjects import Pack

P = TypeVar("P", bound=bytes | BlobRef)

WINDOW: Final = 1000
BACKLOG: Final = 4000
BACKLOG_BYTES: Final = 64 * 2**20
MAX_PACK: Final = 64
TARGET_S: Final = 0.010
"""Seconds of user code that a pack should hold."""
PACK_BYTES: Final = 512 * 1024
"""Payload bytes in one message, of inputs or (expected) of results; the server takes 1 MiB with the headers."""
PROBE: Final = 32
HOLD_S: Final = 0.250
FILL_S: Final = 0.002
"""Seconds that a started pack waits for the source to fill it, while other packs are in flight."""


class PackOut(NamedTuple, Generic[P]):
    """A pack to publish: `args[i]` is the payload of input `first + i`."""

    first: int
    args: tuple[P, ...]


class Settled(NamedTuple):
    """One input's end, as it may be handed to the caller."""

    number: int
    """The index of the input."""
    result: InputResult


class Pace:
    """How long one function's inputs run and how large their results are: what pack size is derived from.

    Kept by function between maps, so that a second map starts with what the first has learnt.
    """

    __slots__ = ("_cap", "_result_bytes", "_run_s")

    def __init__(self) -> None:
        self._run_s: float | None = None
        self._result_bytes = 0.0
        self._cap = 1

    @property
    def growing(self) -> bool:
        """Whether packs may get larger than `pack_size` once more of them have come back."""
        return self._run_s is None or self._cap < self._fitting()

    @property
    def pack_size(self) -> int:
        """How many inputs the next pack should hold, 1 to MAX_PACK."""
        return 1 if self._run_s is None else min(self._fitting(), self._cap)

    def _fitting(self) -> int:
        assert self._run_s is not None
        by_time = MAX_PACK if self._run_s * MAX_PACK <= TARGET_S else int(TARGET_S / self._run_s)
        by_bytes = (
            MAX_PACK if self._result_bytes * MAX_PACK <= PACK_BYTES else int(PACK_BYTES / self._result_bytes)
        )
        return max(1, min(by_time, by_bytes))

    def learn(self, size: int, run_s: float, result_bytes: float) -> None:
        """Take in a finished pack of `size` inputs: mean seconds and mean result bytes per input."""
        if self._run_s is None or run_s > self._run_s:
            self._run_s = run_s
        else:
            self._run_s += (run_s - self._run_s) / 4
        if result_bytes > self._result_bytes:
            self._result_bytes = result_bytes
        else:
            self._result_bytes += (result_bytes - self._result_bytes) / 4
        self._cap = min(MAX_PACK, max(self._cap, 2 * size))


class _Sent:
    """A pack on its way: its size, when it was sent, which of its inputs have no result yet."""

    __slots__ = ("at", "moved", "open", "size")

    def __init__(self, size: int, indices: Iterable[int], at: float) -> None:
        self.size = size
        self.open = set(indices)
        self.moved: set[int] = set()
        self.at = at


class MapPump(Generic[P]):
    """The state of one map. `ordered`: results are handed out in the order of their inputs."""

    def __init__(self, *, ordered: bool, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self.next_due: float | None = None
        """When to call `due` again, if nothing else happens before; None for never."""
        self.fed = 0
        """Inputs taken from the source."""
        self.taken = 0
        """Results handed out."""
        self._ordered = ordered
        self._asked = 0
        self._held: deque[P] = deque()
        self._next_first = 0
        self._sent: dict[int, _Sent] = {}
        self._where: dict[int, int] = {}
        self._waiting: dict[int, InputResult] = {}
        self._ready: deque[Settled] = deque()
        self._next_out = 0
        self._backlog_bytes = 0
        self._ended = False
        self._hold_until: float | None = None
        self._probe = PROBE
        self._fill_until: float | None = None

    # -- inputs --

    def demand(self) -> int:
        """Return how many more inputs to ask of the source; they count as asked for from now on."""
        if self._ended or self._backlog_bytes >= BACKLOG_BYTES:
            return 0
        free = min(
            WINDOW - len(self._where) - len(self._held) - self._asked,
            BACKLOG - (self.fed - self.taken) - self._asked,
        )
        size = self.pace.pack_size
        if not self.fed and not self._asked:
            # A few first, so that they run while the others are serialised: 10 ms for 1,000.
            free = min(free, max(size, PROBE))
        # Asking for every single place that falls free would keep packs as small as they once were.
        wanted = free // size * size
        if wanted <= 0:
            return 0
        self._asked += wanted
        return wanted

    def feed(self, payloads: Sequence[P]) -> None:
        """Take the next inputs of the source, in order."""
        self.fed += len(payloads)
        self._asked = max(0, self._asked - len(payloads))
        self._held.extend(payloads)

    def exhausted(self) -> None:
        """The source has ended."""
        self._ended = True
        self._asked = 0

    def due(self, now: float) -> list[PackOut[P]]:
        """Return the packs to publish now. They count as in flight from here on."""
        self.next_due = None
        packs: list[PackOut[P]] = []
        while self._held:
            if self.pace.growing and len(self._sent) >= self._probe and self._hold(now):
                break
            if len(self._held) < self.pace.pack_size and self._asked and self._where and self._fill(now):
                break
            packs.append(self._cut(now))
        else:
            self._fill_until = None
        return packs

    def _fill(self, now: float) -> bool:
        """Tell whether to wait for more inputs of the same pack."""
        if self._fill_until is None:
            self._fill_until = now + FILL_S
        if now >= self._fill_until:
            self._fill_until = None
            return False
        self.next_due = self._fill_until
        return True

    def _hold(self, now: float) -> bool:
        """Tell whether to wait for a result before more goes out; whenever none comes in time, as much again may go."""
        if self._hold_until is None:  # since the last result
            self._hold_until = now + HOLD_S
        if now >= self._hold_until:
            self._probe *= 2
            self._hold_until = now + HOLD_S
            return False
        self.next_due = self._hold_until
        return True

    def _cut(self, now: float) -> PackOut[P]:
        size = self.pace.pack_size
        args: list[P] = []
        room = PACK_BYTES
        while self._held and len(args) < size:
            room -= _size(self._held[0])
            if args and room < 0:
                break
            args.append(self._held.popleft())
        first = self._next_first
        self._next_first += len(args)
        indices = range(first, self._next_first)
        self._sent[first] = _Sent(len(args), indices, now)
        self._where.update(dict.fromkeys(indices, first))
        return PackOut(first, tuple(args))

    # -- results --

    def settle(self, results: Sequence[InputResult]) -> list[int]:
        """Take results as stored; return the indices that have ended with them (repeats are dropped)."""
        ended: list[int] = []
        seconds = 0.0
        size_bytes = 0
        for result in results:
            first = self._where.get(result.index)
            if first is None:
                continue
            sent = self._sent[first]
            if result.status == "moved":
                sent.moved.add(result.index)
                continue
            self._close(result, first, sent)
            ended.append(result.index)
            seconds += result.run_s
            size_bytes += _result_size(result)
        if ended:
            self._hold_until = None
            self.pace.learn(len(ended), seconds / len(ended), size_bytes / len(ended))
        return ended

    def _close(self, result: InputResult, first: int, sent: _Sent) -> None:
        del self._where[result.index]
        sent.open.discard(result.index)
        if not sent.open:
            del self._sent[first]
        self._backlog_bytes += _result_size(result)
        if not self._ordered:
            self._ready.append(Settled(result.index, result))
            return
        self._waiting[result.index] = result
        while (following := self._waiting.pop(self._next_out, None)) is not None:
            self._ready.append(Settled(self._next_out, following))
            self._next_out += 1

    def take(self, limit: int = 512) -> list[Settled]:
        """Hand out up to `limit` results that may go to the caller now."""
        if len(self._ready) <= limit:
            batch = list(self._ready)
            self._ready.clear()
        else:
            batch = [self._ready.popleft() for _ in range(limit)]
        self.taken += len(batch)
        self._backlog_bytes -= sum(_result_size(item.result) for item in batch)
        return batch

    # -- state --

    @property
    def in_flight(self) -> int:
        """Inputs published that have no result yet."""
        return len(self._where)

    @property
    def held(self) -> int:
        """Inputs taken from the source that have not been published yet."""
        return len(self._held)

    @property
    def ended(self) -> bool:
        """Whether the source has ended."""
        return self._ended

    @property
    def packs_in_flight(self) -> int:
        """Packs published that have inputs without a result."""
        return len(self._sent)

    @property
    def has_ready(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._ready)

    @property
    def settled(self) -> bool:
        """Whether the source has ended and every input has its result (it need not be handed out yet)."""
        return self._ended and not self._held and not self._where

    @property
    def finished(self) -> bool:
        """Whether everything has been handed out."""
        return self.settled and not self._ready

    def missing(self, before: float) -> list[Pack]:
        """Return where to look for results that are missing from packs published before `before`."""
        places: list[Pack] = []
        for first, sent in self._sent.items():
            if sent.at > before:
                continue
            places += [Pack(index, 1) for index in sorted(sent.open & sent.moved)]
            if sent.open - sent.moved:
                places.append(Pack(first, sent.size))
        return list(dict.fromkeys(places))


def _size(payload: bytes | BlobRef) -> int:
    return len(payload) if isinstance(payload, bytes) else 256


def _result_size(result: InputResult) -> int:
    value = result.value
    return len(value) if isinstance(value, bytes) else 256
