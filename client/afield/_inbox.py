"""Where results arrive: one subscription for the session, a table of who waits, and the search for what is missing.

Results come as republished messages, which are lost while the connection is down. So all that is awaited is read back
from the stream after a reconnect, and what has been awaited for long is looked for now and then, too.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

import anyio

from afield._bus.connection import Bus
from afield._bus.direct import get_last
from afield._bus.errors import BusError
from afield._bus.publisher import Flight
from afield._children import child_teller_of_container
from afield._waits import teller_of_container
from afield._wire import subjects
from afield._wire.api import CALL_GET, CallRef
from afield._wire.codec import WireError, decode
from afield._wire.messages import GeneratorChunk, InputResult, ResultPack
from afield._wire.subjects import parse_pack
from afield.exception import InternalFailure

logger = logging.getLogger("afield")

FIRST_SWEEP_S: Final = 5.0
"""Age from which a missing result is looked for; each further look waits half as long again, up to LAST_SWEEP_S."""
LAST_SWEEP_S: Final = 60.0
SWEEP_EVERY_S: Final = 1.0
BEHIND_S: Final = 2.0
"""Seconds after a reconnect to a cluster until everything is looked for once more."""
CONFIRM_S: Final = 0.1
"""Age from which a missing result is looked for whose input asked for no ack."""
GONE_AGE_S: Final = 30.0
"""Age from which the platform is asked whether it still knows the call."""
_AT_ONCE: Final = 32


class Sink(Protocol):
    """A call that waits for results. Its methods are called on the client's loop, and must not raise."""

    call_id: str
    parent: str
    """The input that made the call, if one did; empty for a call that was made elsewhere, or spawned."""
    since: float
    """Monotonic seconds since which it waits."""
    sweep_at: float
    missed: int
    """Looks in a row at which the platform knew nothing of the call."""

    @property
    def flight(self) -> Flight | None:
        """Its input on its way, if that may not have asked for an ack."""
        ...

    def on_results(self, results: Sequence[InputResult]) -> None:
        """Results of some inputs were stored."""

    def on_chunk(self, number: int, chunk: GeneratorChunk) -> None:
        """The `number`-th chunk of a generator was stored."""

    def missing(self, before: float) -> list[str]:
        """Return the last tokens of the subjects where results missing since before `before` may be."""
        ...

    def fail(self, error: BaseException) -> None:
        """No result will come."""


class Inbox:
    """The calls of one client that wait for results."""

    def __init__(self, bus: Bus, ws: str, session: str = "") -> None:
        self._bus = bus
        self._ws = ws
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._teller = teller_of_container(bus, session, self.__len__)
        self._children = child_teller_of_container(bus, ws)
        self._sinks: dict[str, Sink] = {}
        self._unconfirmed: dict[str, Sink] = {}
        """Those that were made in the last CONFIRM_S seconds."""
        self._watchers: dict[str, list[Sink]] = {}
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._reread = False
        self._retry: asyncio.TimerHandle | None = None
        self._pause = 0.0
        """Seconds until the next try after a look that failed; 0 after one that did not."""
        self._failed = False

    def __len__(self) -> int:
        return len(self._sinks) + len(self._watchers)

    @property
    def unconfirmed(self) -> int:
        """How many calls were made in the last CONFIRM_S seconds whose inputs asked for no ack."""
        return len(self._unconfirmed)

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of the loop."""
        return threading.get_ident() == self._thread

    def add(self, sink: Sink) -> None:
        """Wait for the results of `sink.call_id`. From any thread."""
        sink.sweep_at = sink.since + FIRST_SWEEP_S
        self._sinks[sink.call_id] = sink
        if unconfirmed := _is_unconfirmed(sink):
            self._unconfirmed[sink.call_id] = sink
        # A timer that goes off meanwhile sees the sink, or has been forgotten before this looks (see _tick).
        tells = self._teller is not None or self._children is not None
        if tells or self._timer is None or (unconfirmed and self._soon is None):
            if self.is_here:
                self._added(sink)
            else:
                self._loop.call_soon_threadsafe(self._added, sink)

    def _added(self, sink: Sink) -> None:
        self._arm()
        if self.waits(sink):
            if self._teller is not None:
                self._teller.began()
            if self._children is not None:
                self._children.began(sink.parent, sink.call_id)

    def watch(self, sink: Sink) -> None:
        """As `add`, for a call that several may wait for, each for its own part."""
        sink.sweep_at = sink.since + FIRST_SWEEP_S
        self._watchers.setdefault(sink.call_id, []).append(sink)
        self._arm()
        if self._teller is not None:
            self._teller.began()

    def spawned(self, parent: str, call_id: str) -> None:
        """The input `parent` (empty: none) made a call that it does not wait for."""
        if self._children is not None:
            self._children.spawned(parent, call_id)

    def remove(self, sink: Sink) -> None:
        """Wait no more; harmless when it did not."""
        if self._sinks.get(sink.call_id) is sink:
            del self._sinks[sink.call_id]
            self._unconfirmed.pop(sink.call_id, None)
            if self._children is not None:
                self._children.ended(sink.call_id)
        else:
            watchers = self._watchers.get(sink.call_id, [])
            if sink in watchers:
                watchers.remove(sink)
                if not watchers:
                    del self._watchers[sink.call_id]
        if self._teller is not None and not self._sinks and not self._watchers:
            self._teller.over()

    def fail_all(self, error: Exception) -> None:
        """No results will come, for anybody."""
        for sink in self._everybody():
            sink.fail(error)

    def look_soon(self, sink: Sink) -> None:
        """Something of this call is missing: look for it now, not at the next sweep."""
        sink.sweep_at = 0.0
        self._changed.set()

    def _everybody(self) -> list[Sink]:
        return [*self._sinks.values(), *(sink for group in self._watchers.values() for sink in group)]

    def on_message(self, subject: str, _reply: str, _headers: bytes | None, data: bytes) -> None:
        """Take a stored result from the subscription."""
        parts = subject.split(".")
        if len(parts) != 6:
            return
        sink = self._sinks.get(parts[4])
        if sink is not None:
            _deliver(sink, parts[5], data)
        elif self._watchers:
            for watcher in list(self._watchers.get(parts[4], ())):
                _deliver(watcher, parts[5], data)

    def on_reconnect(self) -> None:
        """Messages may have been missed: look for everything."""
        self._read_again()
        if self._bus.clustered:
            # The server that answers now may be a little behind the one that stored them.
            self._again = self._loop.call_later(BEHIND_S, self._read_again)
        if self._children is not None:
            self._children.tell_again()

    def _read_again(self) -> None:
        self._reread = True
        self._changed.set()

    async def run(self) -> None:
        """Look for missing results, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            now = time.monotonic()
            everything, self._reread = self._reread, False
            due = [sink for sink in self._everybody() if everything or sink.sweep_at <= now]
            for start in range(0, len(due), _AT_ONCE):
                async with anyio.create_task_group() as group:
                    for sink in due[start : start + _AT_ONCE]:
                        group.start_soon(self._look, sink, now, everything)
            if self._failed:
                self._failed = False
                self._pause = min(FIRST_SWEEP_S, 2 * self._pause or CONFIRM_S)
                again = self._read_again if everything else self._changed.set
                self._retry = self._loop.call_later(self._pause, again)
            elif due:
                self._pause = 0.0

    def _arm(self) -> None:
        """Have `run` look at who is due once a second, while anybody waits. A timer: calls are too quick for a task."""
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_EVERY_S, self._tick)
        if self._soon is None and self._unconfirmed:
            self._soon = self._loop.call_later(CONFIRM_S, self._look_soon)

    def _tick(self) -> None:
        self._timer = None
        if self._sinks or self._watchers:
            self._changed.set()
            self._arm()

    def _look_soon(self) -> None:
        self._soon = None
        ripe = time.monotonic() - CONFIRM_S
        for call_id, sink in list(self._unconfirmed.items()):
            if sink.since <= ripe:
                del self._unconfirmed[call_id]
                self.look_soon(sink)
        if self._unconfirmed:
            self._arm()

    def close(self) -> None:
        """Look for nothing any more."""
        for timer in (self._timer, self._soon, self._again, self._retry):
            if timer is not None:
                timer.cancel()
        if self._teller is not None:
            self._teller.close()
        if self._children is not None:
            self._children.close()

    async def _look(self, sink: Sink, now: float, everything: bool) -> None:
        age = now - sink.since
        sink.sweep_at = now + min(LAST_SWEEP_S, max(FIRST_SWEEP_S, age / 2))
        try:
            before = now if everything or _is_unconfirmed(sink) else now - FIRST_SWEEP_S
            found = await self.read(sink, before=before)
            if not found and sink.flight is not None and sink.since <= before and self.waits(sink):
                self._bus.publisher.confirm(sink.flight)
            if not found and age >= GONE_AGE_S and self.waits(sink):
                await self._ask_whether_known(sink)
        except (BusError, TimeoutError) as error:
            # A server that is just back may have no streams yet.
            logger.debug("could not look for results of %s: %s", sink.call_id, error)
            sink.sweep_at = now
            self._failed = True

    async def read(self, sink: Sink, *, before: float) -> bool:
        """Read missing results from the stream; tell whether there were any. Raises BusError when that fails."""
        found = False
        tokens = sink.missing(before)
        for start in range(0, len(tokens), _AT_ONCE):
            async with anyio.create_task_group() as group:
                results = [_Slot(token) for token in tokens[start : start + _AT_ONCE]]
                for slot in results:
                    group.start_soon(self._read_one, sink.call_id, slot)
            for slot in results:
                if slot.error is not None:
                    raise slot.error
                if slot.data is not None and self.waits(sink):
                    found = True
                    _deliver(sink, slot.token, slot.data)
        return found

    def waits(self, sink: Sink) -> bool:
        """Tell whether results of this call are still waited for."""
        return self._sinks.get(sink.call_id) is sink or sink in self._watchers.get(sink.call_id, ())

    async def _read_one(self, call_id: str, slot: "_Slot") -> None:
        subject = subjects.result(self._ws, call_id, slot.token)
        try:
            stored = await get_last(self._bus, subjects.RESULTS_STREAM, subject)
        except BusError as error:  # told by whoever reads the slots: a group would wrap it
            slot.error = error
            return
        if stored is not None:
            slot.data = stored.data

    async def _ask_whether_known(self, sink: Sink) -> None:
        missing = sink.missing(time.monotonic())
        if not missing:
            return
        indices = {0 if token.startswith("g") else parse_pack(token).first for token in missing}
        request = CallRef(ws=self._ws, call_id=sink.call_id, indices=tuple(sorted(indices)))
        state = await self._bus.call(CALL_GET, request)
        if state.pending or set(state.finished) & set(missing):
            sink.missed = 0
            return
        # A retry is published before the old input goes, so a call that has neither is gone; asked twice, to be sure.
        sink.missed += 1
        if sink.missed >= 2:
            sink.fail(
                InternalFailure(
                    f"the platform knows nothing of call {sink.call_id} any more: its app was stopped, "
                    f"or its inputs were purged"
                )
            )


def _is_unconfirmed(sink: Sink) -> bool:
    """Tell whether nobody has said yet that its input is stored, and nobody was asked."""
    return sink.flight is not None and sink.flight.trusting


class _Slot:
    """One place to look at, and what was found there."""

    __slots__ = ("data", "error", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.data: bytes | None = None
        self.error: BusError | None = None


def _deliver(sink: Sink, token: str, data: bytes) -> None:
    try:
        if token.startswith("g"):
            sink.on_chunk(int(token[1:]), decode(GeneratorChunk, data))
        else:
            sink.on_results(decode(ResultPack, data).results)
    except (WireError, ValueError) as error:
        sink.fail(InternalFailure(f"a stored result of call {sink.call_id} cannot be read: {error}"))
