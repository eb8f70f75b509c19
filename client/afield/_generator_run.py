"""One call of a generator: its chunks put in order, credit given as the consumer takes values."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio

from afield._bus_errors import as_user_errors
from afield._outcome import CallOutcome
from afield._platform import Client
from afield._single import ONLY
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef, CallControl, GeneratorChunk, InputResult
from afield.mapping import PackOut
from afield.serialization import Serialized

CREDIT_EVERY: Final = 8
"""Values taken between two messages of credit, while more values are here already."""
REPEAT_S: Final = 1.0
"""How often credit is repeated while nothing comes: it travels at most once."""
FETCH_BYTES: Final = 32 * 2**20


class GeneratorRun:
    """A sink (see `_inbox`), and `Batches` (see `_sync`) of outcomes; the last one may be the generator's error."""

    flight: Final = None
    """Whether its inputs are stored is known from their acks."""

    def __init__(self, client: Client, record: FunctionRecord) -> None:
        self.call_id = client.next_call_id(record.shard)
        self.parent = ""
        self.since = self.sweep_at = time.monotonic()
        self.missed = 0
        self._client = client
        self._record = record
        self._blob: BlobRef | None = None
        self._early: dict[int, GeneratorChunk] = {}
        self._next_chunk = 0
        self._values: deque[bytes | BlobRef] = deque()
        self._taken = 0
        self._credited = 0
        self._end: InputResult | None = None
        self._complete = False
        self._error: BaseException | None = None
        self._ready = asyncio.Event()
        self._over = False

    async def start(self, data: Serialized, *, parent: str, method: str = "") -> "GeneratorRun":
        """Publish the call."""
        client, record = self._client, self._record
        self.parent = parent
        with as_user_errors():
            payload = await client.payloads.store(data, self.call_id)
        if isinstance(payload, BlobRef):
            self._blob = payload
        self.since = time.monotonic()
        client.inbox.add(self)
        client.count(record.function_id, 1)
        client.store_input(
            self,
            record,
            partial(
                client.publish_one,
                record,
                self.call_id,
                "generator",
                PackOut(0, (payload,)),
                parent,
                method=method,
            ),
        )
        return self

    # -- the consumer's side --

    async def next_batch(self) -> Sequence[CallOutcome] | None:
        """Return the next outcomes; None at the end. Raises what kept the call from going on."""
        while not self._values:
            if self._error is not None:
                raise self._error
            if self._end is not None and not self._complete:
                await self._read_rest()
            elif self._end is not None:
                return await self._last()
            else:
                await self._wait()
        if self._taken - self._credited >= CREDIT_EVERY:
            self._give_credit()
        return await self._take()

    async def _take(self) -> Sequence[CallOutcome]:
        outcomes: list[CallOutcome] = []
        room = FETCH_BYTES
        while self._values and room > 0:
            value = self._values.popleft()
            room -= value.size if isinstance(value, BlobRef) else len(value)
            with as_user_errors():
                buffer = await self._client.payloads.fetch(value, keep=False)
            outcomes.append(CallOutcome(buffer, None, self._record.spec))
        self._taken += len(outcomes)
        return outcomes

    async def _wait(self) -> None:
        if self._taken > self._credited:
            self._give_credit()
        self._ready.clear()
        with anyio.move_on_after(REPEAT_S) as scope:
            await self._ready.wait()
        if scope.cancelled_caught and self._taken:
            self._give_credit()

    def _give_credit(self) -> None:
        self._credited = self._taken
        message = CallControl(verb="credit", call_id=self.call_id, consumed=self._taken)
        with as_user_errors():
            self._client.bus.send(subjects.call_control(self._client.ws, self.call_id), encode(message))

    async def _read_rest(self) -> None:
        """The end is here: make sure that no chunk before it was missed, which only the stream can tell."""
        before = self._next_chunk
        with as_user_errors():
            await self._client.inbox.read(self, before=time.monotonic())
        if self._next_chunk == before:
            self._complete = True

    async def _last(self) -> Sequence[CallOutcome] | None:
        end = self._end
        assert end is not None
        if end.status == "ok" or self._over:
            return None
        self._finish()
        self._client.later(self._client.forget, self.call_id)
        return [await self._client.outcome_of(end, self._record.spec)]

    async def aclose(self) -> None:
        """End the call: cancelled, if it has not ended."""
        if self._over:
            return
        self._finish()
        self._client.later(
            self._client.forget if self._end is not None else self._client.cancel, self.call_id
        )

    def _finish(self) -> None:
        self._over = True
        self._client.inbox.remove(self)
        self._client.count(self._record.function_id, -1)
        leftovers = [self._blob, *self._values, *(v for chunk in self._early.values() for v in chunk.values)]
        for each in leftovers:
            if isinstance(each, BlobRef):
                self._client.later(self._client.payloads.discard, each)

    # -- Sink --

    def on_results(self, results: Sequence[InputResult]) -> None:
        """See Sink."""
        for result in results:
            if result.index == 0 and result.status != "moved" and self._end is None:
                self._end = result
                self._ready.set()

    def on_chunk(self, number: int, chunk: GeneratorChunk) -> None:
        """See Sink."""
        if number < self._next_chunk or number in self._early:
            return
        self._early[number] = chunk
        while (following := self._early.pop(self._next_chunk, None)) is not None:
            self._next_chunk += 1
            self._values.extend(following.values)
        self.since = time.monotonic()
        if self._early:
            self._client.inbox.look_soon(self)  # one went missing in between
        self._ready.set()

    def missing(self, before: float) -> list[str]:
        """See Sink."""
        if self.since > before and not self._early:
            return []
        chunk = f"g{self._next_chunk}"
        return [chunk] if self._end is not None else [chunk, ONLY]

    def fail(self, error: BaseException) -> None:
        """See Sink."""
        if self._error is None:
            self._error = error
        self._ready.set()
