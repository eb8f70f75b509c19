"""Stores what came out of a pack: first the results, then the inputs that go on by themselves.

The result of a pack is the one place where its end is decided, and says how those inputs go on: should this worker die
between the two, whoever gets the pack next finds it there (`earlier`). A pack of one that goes on has no result yet; its
next attempt decides.

The hot path makes no task: a result that fits into one message is published, and its ack calls back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import (
    BusBufferFullError,
    BusClosedError,
    BusError,
    PayloadTooLargeError,
    PublishRefusedError,
    StreamFullError,
)
from afield._bus.publisher import RESULT_EXISTS, STREAM_FULL, Address, address
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.messages import BlobRef, GeneratorChunk, InputPack, InputResult, Move, ResultPack
from afield._wire.streams import RESULT_TTL
from afield._wire.subjects import Pack
from afield_common.log import get_logger
from afield_worker.blobs import Blobs
from afield_worker.earlier import EarlierRuns
from afield_worker.held import Held
from afield_worker.insistence import Insistence
from afield_worker.instructions import Settle, StoreChunk
from afield_worker.moves import Moves, no_room, plan

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
        insistence: Insistence,
        moves: Moves,
        earlier: EarlierRuns,
        on_stored: Callable[[Held], None],
        on_failed: Callable[[Held], None],
    ) -> None:
        self._bus = bus
        self._tasks = tasks
        self._blobs = blobs
        self._worker_id = worker_id
        self._on_stored = on_stored
        self._on_failed = on_failed
        self._insistence = insistence
        self._moves = moves
        self._earlier = earlier

    @property
    def stalled(self) -> str:
        """What has kept results from being stored for a while, in one clause; empty if nothing does."""
        return self._insistence.stalled

    # -- results --------------------------------------------------------------------------------------

    def expect(self, held: Held) -> None:
        """A container was given a pack: make, while it runs, what its result needs and does not depend on it."""
        held.result_to = self._address(held, held.container_id)

    def settle(self, settle: Settle) -> None:
        """Store the outcome of a pack; without anything unusual about it, at once."""
        held = settle.held
        if settle.moved or not settle.results or not self._simple(settle.results, held.pack):
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
            if settle.results:
                await self._publish(settle)
            elif settle.moved and await self._earlier.end(held) is None:
                await self._send_on(settle, plan(held, settle.moved, time.time()))
        except (BusError, OSError) as error:
            self._give_up(settle, error)
        else:
            self._on_stored(held)

    async def _publish(self, settle: Settle) -> None:
        """Store a result, then send on what it says goes on; unless somebody else's stands."""
        held = settle.held
        results = tuple([await self._portable(r, held.pack) for r in settle.results])
        moves = plan(held, settle.moved, time.time())
        payload, results = await self._fit(settle, results, moves)
        if await self._insistence.publish(partial(self._start, settle, payload)):
            await self._send_on(settle, moves)
            return
        self._drop_values(results)
        end = await self._earlier.end(held)
        if end is not None:  # it may have lapsed since
            held.moved.clear()
            held.elsewhere = end.elsewhere
            await self._earlier.send_on(held, end.moves)

    async def _send_on(self, settle: Settle, moves: Sequence[Move]) -> None:
        """Publish what goes on. Where the stream has no room for another attempt, the error of this one stands."""
        held = settle.held
        stuck = await self._moves.publish(held, moves)
        if not stuck:
            return
        errors = {each.input_index: each.error for each in settle.moved}
        log.warning("no room for further attempts", call_id=held.pack.call_id, inputs=len(stuck))
        for move in stuck:
            error = errors[move.index]
            if error is None:
                raise StreamFullError(held.subject, STREAM_FULL, "an input lost with others cannot go on yet")
            result = await self._portable(no_room(held, move, error, time.time()), held.pack)
            payload, results = await self._fit(settle, (result,), first=move.index)
            if not await self._insistence.publish(partial(self._start, settle, payload, Pack(move.index, 1))):
                self._drop_values(results)
            held.moved = [each for each in held.moved if each.input_index != move.index]

    def _start(self, settle: Settle, payload: bytes, token: Pack | str = "") -> "asyncio.Future[Any]":
        held = settle.held
        if token or held.result_to is None or held.container_id != settle.container_id:
            to = self._address(held, settle.container_id, token)
        else:
            to = held.result_to
        return self._bus.publisher.start_to(to, payload)

    def _address(self, held: Held, container_id: str, token: Pack | str = "") -> Address:
        pack = held.pack
        token = token or f"{pack.first}-{held.size}"
        return address(
            subjects.result(held.ws, pack.call_id, token),
            msg_id=f"{pack.call_id}.{token}.{container_id or self._worker_id}.{pack.attempt}",
            ttl=RESULT_TTL[pack.kind],
        )

    def _encode(
        self,
        settle: Settle,
        results: tuple[InputResult, ...],
        moves: tuple[Move, ...] = (),
        first: int | None = None,
    ) -> bytes:
        return encode(
            ResultPack(
                call_id=settle.held.pack.call_id,
                first=settle.held.pack.first if first is None else first,
                results=results,
                container_id=settle.container_id,
                worker_id=self._worker_id,
                stored_by=time.time(),
                moves=moves,
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
            subjects.chunk(chunk.held.ws, pack.call_id, chunk.number),
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
        self,
        settle: Settle,
        results: tuple[InputResult, ...],
        moves: tuple[Move, ...] = (),
        first: int | None = None,
    ) -> tuple[bytes, tuple[InputResult, ...]]:
        """Return the message, with its largest values moved to blobs until it fits."""
        pack = settle.held.pack
        while True:
            payload = self._encode(settle, results, moves, first)
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
