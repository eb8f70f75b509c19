"""Stores what came out of a pack: first the inputs that go on by themselves, then the results.

The hot path makes no task: a result that fits into one message is published, and its ack calls back.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import (
    BusBufferFullError,
    BusClosedError,
    BusError,
    PayloadTooLargeError,
    PublishRefusedError,
)
from afield._bus.leaders import read_last
from afield._bus.publisher import RESULT_EXISTS
from afield._wire import subjects
from afield._wire.codec import decode, encode
from afield._wire.messages import BlobRef, GeneratorChunk, InputPack, InputResult, ResultPack
from afield._wire.streams import RESULT_TTL
from afield_common.log import get_logger
from afield_worker.blobs import Blobs
from afield_worker.held import Held
from afield_worker.insistence import REFUSED_PAUSE_S, Insistence
from afield_worker.instructions import Settle, StoreChunk
from afield_worker.moves import Moves

log = get_logger(__name__)

HEADER_ROOM: Final = 1024
"""Bytes of a message kept free for its headers."""

Value = bytes | BlobRef | None


class Results:
    """Publishes results; tells `on_stored` or `on_failed` how that went."""

    def __init__(
        self,
        bus: Bus,
        tasks: TaskGroup,
        blobs: Blobs,
        worker_id: str,
        on_stored: Callable[[Held], None],
        on_failed: Callable[[Held], None],
    ) -> None:
        self._bus = bus
        self._tasks = tasks
        self._blobs = blobs
        self._worker_id = worker_id
        self._on_stored = on_stored
        self._on_failed = on_failed
        self._insistence = Insistence(bus)
        self._moves = Moves(bus, self._insistence)

    @property
    def stalled(self) -> str:
        """What has kept results from being stored for a while, in one clause; empty if nothing does."""
        return self._insistence.stalled

    # -- results --------------------------------------------------------------------------------------

    def settle(self, settle: Settle) -> None:
        """Store the outcome of a pack; without anything unusual about it, at once."""
        held = settle.held
        if settle.moved or not self._simple(settle.results, held.pack):
            self._tasks.start_soon(self._settle, settle)
            return
        results = settle.results
        try:
            results = tuple([self._near(r, held.pack) for r in results])
            ack = self._start(settle, self._encode(settle, results))
        except (PayloadTooLargeError, BusBufferFullError, OSError):
            self._tasks.start_soon(self._settle, settle._replace(results=results))
            return
        ack.add_done_callback(partial(self._acked, settle, results))

    def _acked(self, settle: Settle, results: tuple[InputResult, ...], ack: "asyncio.Future[Any]") -> None:
        error = None if ack.cancelled() else ack.exception()
        if error is None:
            self._on_stored(settle.held)
        elif _exists(error) and settle.held.size == 1:
            self._drop_values(results)
            self._on_stored(settle.held)
        elif isinstance(error, BusError) and not isinstance(error, BusClosedError):
            self._tasks.start_soon(self._settle, settle._replace(results=results))
        else:
            self._give_up(settle, error)

    async def _settle(self, settle: Settle) -> None:
        """Store the outcome of a pack step by step."""
        held = settle.held
        try:
            standing = await self._standing(held) if settle.moved else None
            if standing is not None:
                await self._give_way(settle, standing)
            else:
                settle = await self._moves.publish(settle)
                if settle.results:
                    await self._publish(settle)
        except (BusError, OSError) as error:
            self._give_up(settle, error)
        else:
            self._on_stored(held)

    async def _publish(self, settle: Settle) -> None:
        """Store a result, unless somebody else's stands."""
        results = tuple([await self._portable(r, settle.held.pack) for r in settle.results])
        payload, results = await self._fit(settle, results)
        if await self._insistence.publish(partial(self._start, settle, payload)):
            return
        settle = settle._replace(results=results, moved=())
        standing = await self._standing(settle.held)
        if standing is None:  # it has lapsed since
            self._drop_values(results)
        else:
            await self._give_way(settle, standing)

    def _start(self, settle: Settle, payload: bytes, token: str = "") -> "asyncio.Future[Any]":
        held = settle.held
        pack = held.pack
        token = token or f"{pack.first}-{held.size}"
        return self._bus.publisher.start(
            subjects.result(_ws(held), pack.call_id, token),
            payload,
            msg_id=f"{pack.call_id}.{token}.{settle.container_id or self._worker_id}.{pack.attempt}",
            ttl=RESULT_TTL[pack.kind],
        )

    def _encode(self, settle: Settle, results: tuple[InputResult, ...], first: int | None = None) -> bytes:
        return encode(
            ResultPack(
                call_id=settle.held.pack.call_id,
                first=settle.held.pack.first if first is None else first,
                results=results,
                container_id=settle.container_id,
                worker_id=self._worker_id,
                stored_by=time.time(),
            )
        )

    def _give_up(self, settle: Settle, error: BaseException | None) -> None:
        log.error(
            "result not stored, the input is given back",
            call_id=settle.held.pack.call_id,
            container_id=settle.container_id,
            error=str(error),
        )
        self._on_failed(settle.held)

    # -- another run of the same pack --------------------------------------------------------------------

    async def _standing(self, held: Held) -> ResultPack | None:
        """Return the result of the pack that is stored already: another run of it came first."""
        subject = subjects.result(_ws(held), held.pack.call_id, f"{held.pack.first}-{held.size}")
        while True:
            try:
                stored = await read_last(self._bus, subjects.RESULTS_STREAM, subject)
            except BusClosedError:
                raise
            except BusError as error:
                log.debug("results cannot be read, trying until they can", error=str(error))
                await anyio.sleep(REFUSED_PAUSE_S)  # no event tells when a stream has a leader again
            else:
                return None if stored is None else decode(ResultPack, stored.data)

    async def _give_way(self, settle: Settle, standing: ResultPack) -> None:
        """Let another run's result stand; what it left to packs of one has the end that we know.

        Its worker may have died before it sent them on. Where that happened after all, the first result stands again.
        """
        held = settle.held
        left = {result.index for result in standing.results if result.status == "moved"}
        moved = tuple(each for each in settle.moved if each.input_index in left)
        if moved:
            await self._moves.publish(settle._replace(moved=moved))
        unwanted = []
        for result in settle.results:
            if result.status == "moved":
                continue
            if held.size == 1 or result.index not in left:
                unwanted.append(result)
                continue
            portable = await self._portable(result, held.pack)
            payload, published = await self._fit(settle, (portable,), result.index)
            token = f"{result.index}-1"
            if not await self._insistence.publish(partial(self._start, settle, payload, token)):
                unwanted += published
        self._drop_values(tuple(unwanted))

    # -- generators ------------------------------------------------------------------------------------

    def store_chunk(
        self, chunk: StoreChunk, on_end: Callable[[Held, BusError | OSError | None], None]
    ) -> None:
        """Store values of a generator; `on_end` gets the error, or None when the stream has them."""
        pack = chunk.held.pack
        if all(map(_inline, chunk.values)) or self._blobs.near(pack.caller_host):
            try:
                values = tuple([self._near_value(v, pack) for v in chunk.values])
                chunk = chunk._replace(values=values)
                ack = self._start_chunk(chunk, values)
            except (PayloadTooLargeError, BusBufferFullError, OSError):
                pass  # step by step, below
            else:
                ack.add_done_callback(partial(_chunk_acked, chunk.held, on_end))
                return
        self._tasks.start_soon(self._store_chunk, chunk, on_end)

    async def _store_chunk(
        self, chunk: StoreChunk, on_end: Callable[[Held, BusError | OSError | None], None]
    ) -> None:
        pack = chunk.held.pack
        try:
            values = [await self._portable_value(v, pack) for v in chunk.values]
            total = sum(len(v) for v in values if isinstance(v, bytes))
            for i, value in enumerate(values):
                if isinstance(value, bytes) and total > self._bus.max_payload - HEADER_ROOM:
                    values[i] = await self._blobs.spill(value, pack.call_id, pack.caller_host)
                    total -= len(value)
            await self._bus.publisher.ready()
            await self._start_chunk(chunk, tuple(values))
        except (BusError, OSError) as error:
            on_end(chunk.held, error)
        else:
            on_end(chunk.held, None)

    def _start_chunk(self, chunk: StoreChunk, values: tuple[bytes | BlobRef, ...]) -> "asyncio.Future[Any]":
        pack = chunk.held.pack
        body = GeneratorChunk(
            call_id=pack.call_id, first=chunk.first, values=values, worker_id=self._worker_id
        )
        return self._bus.publisher.start(
            subjects.chunk(_ws(chunk.held), pack.call_id, chunk.number),
            encode(body),
            msg_id=f"{pack.call_id}.g{chunk.number}.{chunk.container_id}.{pack.attempt}",
            ttl=RESULT_TTL[pack.kind],
        )

    # -- values -----------------------------------------------------------------------------------------

    def _simple(self, results: tuple[InputResult, ...], pack: InputPack) -> bool:
        """Tell whether nothing has to be uploaded."""
        if self._blobs.near(pack.caller_host):
            return True
        return all(_inline(r.value) and (r.error is None or _inline(r.error.exception)) for r in results)

    def _near(self, result: InputResult, pack: InputPack) -> InputResult:
        """Return a result for a caller on this host: files move into the file tier."""
        if isinstance(result.value, BlobRef):
            return replace(result, value=self._near_value(result.value, pack))
        if result.error is not None and isinstance(result.error.exception, BlobRef):
            exception = self._near_value(result.error.exception, pack)
            return replace(result, error=replace(result.error, exception=exception))
        return result

    def _near_value(self, value: bytes | BlobRef, pack: InputPack) -> bytes | BlobRef:
        if isinstance(value, BlobRef) and _made_here(value):
            return self._blobs.adopt(value, pack.call_id)
        return value

    async def _portable(self, result: InputResult, pack: InputPack) -> InputResult:
        """Return a result that its caller can read, wherever it is."""
        if isinstance(result.value, BlobRef):
            return replace(result, value=await self._portable_value(result.value, pack))
        if result.error is not None and isinstance(result.error.exception, BlobRef):
            exception = await self._portable_value(result.error.exception, pack)
            return replace(result, error=replace(result.error, exception=exception))
        return result

    async def _portable_value(self, value: bytes | BlobRef, pack: InputPack) -> bytes | BlobRef:
        if isinstance(value, bytes) or not _made_here(value):
            return value
        if self._blobs.near(pack.caller_host):
            return self._blobs.adopt(value, pack.call_id)
        return await self._blobs.upload(value, pack.call_id)

    async def _fit(
        self, settle: Settle, results: tuple[InputResult, ...], first: int | None = None
    ) -> tuple[bytes, tuple[InputResult, ...]]:
        """Return the message, with its largest values moved to blobs until it fits."""
        pack = settle.held.pack
        while True:
            payload = self._encode(settle, results, first)
            if len(payload) <= self._bus.max_payload - HEADER_ROOM:
                return payload, results
            largest = max(results, key=_inline_size)
            if not _inline_size(largest):
                raise PayloadTooLargeError(settle.held.subject, len(payload), self._bus.max_payload)
            smaller = await self._spill(largest, pack)
            results = tuple(smaller if r is largest else r for r in results)

    async def _spill(self, result: InputResult, pack: InputPack) -> InputResult:
        if isinstance(result.value, bytes):
            value = await self._blobs.spill(result.value, pack.call_id, pack.caller_host)
            return replace(result, value=value)
        error = result.error
        assert error is not None
        if not isinstance(error.exception, bytes):
            return replace(result, error=replace(error, traceback="", log_tail=()))
        exception = await self._blobs.spill(error.exception, pack.call_id, pack.caller_host)
        return replace(result, error=replace(error, exception=exception))

    def _drop_values(self, results: tuple[InputResult, ...]) -> None:
        """Remove the blobs of results that lost against somebody else's."""
        refs = [r.value for r in results if isinstance(r.value, BlobRef)]
        if refs:
            self._tasks.start_soon(self._blobs.delete, refs)


def _chunk_acked(
    held: Held, on_end: Callable[[Held, BusError | OSError | None], None], ack: "asyncio.Future[Any]"
) -> None:
    error = None if ack.cancelled() else ack.exception()
    assert error is None or isinstance(error, BusError)
    on_end(held, error)


def _exists(error: BaseException) -> bool:
    """Tell whether another run's result stands."""
    return isinstance(error, PublishRefusedError) and error.err_code == RESULT_EXISTS


def _ws(held: Held) -> str:
    return held.subject.split(".", 3)[2]


def _inline(value: Value) -> bool:
    return not isinstance(value, BlobRef)


def _made_here(ref: BlobRef) -> bool:
    """Tell whether it is still a file of a guest (an absolute path), not a blob that callers know."""
    return ref.tier == "file" and ref.name.startswith("/")


def _inline_size(result: InputResult) -> int:
    if isinstance(result.value, bytes):
        return len(result.value)
    if result.error is None:
        return 0
    exception = result.error.exception
    text = sum(map(len, result.error.log_tail)) + len(result.error.traceback)
    return len(exception) if isinstance(exception, bytes) else text
