"""One map on its way: carries out what the pump (`mapping.py`) says, between a feed, the bus and the consumer."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio

from afield._bus.batch import BatchMessage
from afield._bus.errors import PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS, PubAck
from afield._bus_errors import as_user_errors, user_error
from afield._feed import Chunk, Feed
from afield._outcome import CallOutcome
from afield._platform import Client
from afield._room import PATIENCE_S, Room
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef, GeneratorChunk, InputResult
from afield.exception import InternalFailure
from afield.mapping import MapPump, Pace, PackOut, Settled
from afield.output import MapProgress
from afield.serialization import Serialized

GIVE_WAY: Final = 32
"""Packs published in one step of the loop."""
FETCH_BYTES: Final = 32 * 2**20
"""Bytes of blobs that one batch for the consumer may hold."""


class MapRun:
    """A sink (see `_inbox`) for results, and `Batches` (see `_sync`) of outcomes. Belongs to its client's loop."""

    flight: Final = None
    """Whether its inputs are stored is known from their acks."""

    def __init__(
        self,
        client: Client,
        record: FunctionRecord,
        feed: Feed,
        *,
        ordered: bool,
        parent: str = "",
        method: str = "",
        progress: MapProgress | None = None,
    ) -> None:
        self.call_id = client.next_call_id(record.shard)
        self.since = self.sweep_at = time.monotonic()
        self.missed = 0
        self._client = client
        self._record = record
        self._feed = feed
        self.parent = parent
        self._method = method
        self._progress = progress
        self._pump: MapPump[bytes | BlobRef] = MapPump(
            ordered=ordered, pace=client.paces.setdefault((record.function_id, method), Pace())
        )
        self._room = Room(client, record, PATIENCE_S, lambda: self.since)
        self._chunks: deque[Chunk] = deque()
        self._refused: list[PackOut[bytes | BlobRef]] = []
        """Packs that the stream had no room for."""
        self._blobs: dict[int, BlobRef] = {}
        self._settled: deque[Settled] = deque()
        self._error: BaseException | None = None
        self._input_error: Exception | None = None
        self._work = asyncio.Event()
        self._ready = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._scope = anyio.CancelScope()
        self._over = False

    def start(self) -> "MapRun":
        """Begin to consume and to publish."""
        self._client.inbox.add(self)
        self._feed.start(asyncio.get_running_loop(), self._on_chunk)
        self._work.set()
        self._client.spawn(self._main)
        return self

    # -- the consumer's side --

    async def next_batch(self) -> Sequence[CallOutcome] | None:
        """Return the next outcomes; None at the end. Raises what kept the map from going on."""
        while not self._settled:
            self._settled.extend(self._pump.take())
            if self._settled:
                self._work.set()  # room for more inputs
                break
            if self._error is not None:
                raise self._error
            if self._pump.finished:
                if self._input_error is not None:
                    raise self._input_error
                return None
            self._ready.clear()
            await self._ready.wait()
        return await self._fetch()

    async def _fetch(self) -> Sequence[CallOutcome]:
        outcomes: list[CallOutcome] = []
        room = FETCH_BYTES
        while self._settled and room > 0:
            result = self._settled.popleft().result
            value = result.value
            if isinstance(value, BlobRef):
                room -= value.size
            outcomes.append(await self._client.outcome_of(result, self._record.spec))
        return outcomes

    async def aclose(self) -> None:
        """End the map; what has no result yet is cancelled."""
        if self._over:
            return
        cancelled = not self._pump.settled
        self._end()
        self._client.later(self._client.cancel if cancelled else self._client.forget, self.call_id)

    # -- results --

    def on_results(self, results: Sequence[InputResult]) -> None:
        """See Sink."""
        packs = self._pump.packs_in_flight
        ended = self._pump.settle(results)
        if not ended:
            return
        self._client.count(self._record.function_id, self._pump.packs_in_flight - packs)
        for index in ended if self._blobs else ():
            blob = self._blobs.pop(index, None)
            if blob is not None:
                self._client.later(self._client.payloads.discard, blob)
        self.since = time.monotonic()
        self._wake_consumer()
        self._work.set()
        self._tell()

    def on_chunk(self, number: int, chunk: GeneratorChunk) -> None:  # noqa: ARG002 - as Sink has it
        """See Sink: a map has no generators."""
        self.fail(InternalFailure(f"map {self.call_id} got chunk {number} of a generator"))

    def missing(self, before: float) -> list[str]:
        """See Sink."""
        return [str(pack) for pack in self._pump.missing(before)]

    def fail(self, error: BaseException) -> None:
        """See Sink."""
        if self._error is None:
            self._error = error
        self._ready.set()
        self._work.set()

    def _wake_consumer(self) -> None:
        if self._pump.has_ready or self._pump.finished:
            self._ready.set()

    def _tell(self) -> None:
        if self._progress is not None:
            pump = self._pump
            self._progress.update(pump.fed - pump.in_flight - pump.held, pump.fed if pump.ended else None)

    # -- inputs --

    def _on_chunk(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._work.set()

    async def _main(self) -> None:
        with self._scope:
            try:
                while self._error is None and not self._pump.settled:
                    await self._work.wait()
                    self._work.clear()
                    await self._publish_refused()
                    await self._take_inputs()
                    await self._publish()
                    wanted = self._pump.demand()
                    if wanted:
                        self._feed.want(wanted)
            except Exception as error:
                self.fail(user_error(error))
        self._feed.close()
        self._wake_consumer()

    async def _publish_refused(self) -> None:
        """Publish what there was no room for; nothing else is taken from the source until it is stored."""
        refused, self._refused = self._refused, []
        if refused:
            await self._room.publish_all([self._message(pack) for pack in refused])
            self._client.wake(self._record)

    async def _take_inputs(self) -> None:
        while self._chunks:
            chunk = self._chunks.popleft()
            payloads: list[bytes | BlobRef] = []
            for each in chunk.payloads:
                payloads.append(each if isinstance(each, bytes) else await self._store(each, len(payloads)))
            self._pump.feed(payloads)
            self._feed.done(chunk.size)
            if chunk.ended:
                self._input_error = chunk.error
                self._pump.exhausted()
                self._tell()

    async def _store(self, data: Serialized, offset: int) -> bytes | BlobRef:
        with as_user_errors():
            payload = await self._client.payloads.store(data, self.call_id)
        if isinstance(payload, BlobRef):
            self._blobs[self._pump.fed + offset] = payload
        return payload

    async def _publish(self) -> None:
        now = time.monotonic()
        packs = self._pump.due(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pump.next_due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._pump.next_due - now), self._work.set)
        if not packs:
            return
        self._client.count(self._record.function_id, len(packs))
        for number, pack in enumerate(packs, 1):
            # One by one, in a window, not as an atomic batch: of that nothing runs before all is stored, and the server
            # takes 6 ms for the smallest one (0.3 ms for a message; the same 15 ms for 1,000).
            await self._client.bus.publisher.ready()
            self._publish_one(pack)
            if number % GIVE_WAY == 0:
                await asyncio.sleep(0)  # what was published leaves, and results are taken in

    def _publish_one(self, pack: PackOut[bytes | BlobRef]) -> None:
        ack = self._client.publish_one(
            self._record, self.call_id, "map", pack, self.parent, lane="lo", method=self._method
        )
        ack.add_done_callback(partial(self._on_ack, pack))

    def _on_ack(self, pack: PackOut[bytes | BlobRef], ack: "asyncio.Future[PubAck]") -> None:
        error = None if ack.cancelled() else ack.exception()
        if error is None or (isinstance(error, PublishRefusedError) and error.err_code == RESULT_EXISTS):
            return
        if isinstance(error, StreamFullError) and not self._over:
            self._refused.append(pack)
            self._work.set()
            return
        self.fail(user_error(error))

    def _message(self, pack: PackOut[bytes | BlobRef]) -> BatchMessage:
        return BatchMessage(
            *self._client.input_message(
                self._record, self.call_id, "map", pack, self.parent, lane="lo", method=self._method
            )
        )

    # -- the end --

    def _end(self) -> None:
        self._over = True
        self._client.inbox.remove(self)
        self._client.count(self._record.function_id, -self._pump.packs_in_flight)
        self._feed.close()
        self._scope.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for blob in self._blobs.values():
            self._client.later(self._client.payloads.discard, blob)
        self._blobs.clear()
        if self._progress is not None:
            self._progress.close()
