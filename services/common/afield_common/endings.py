"""The end of inputs that nobody will run: each gets a result, then its message goes.

Whoever waits for an input learns of its end by its result, so the results are stored first (where one stands already,
it stays), and only then the messages are removed, those that were seen and no others. This goes page by page: memory
is bounded, however many inputs wait.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from afield._bus.connection import Bus
from afield._bus.direct import StoredMessage, get_next_batch
from afield._bus.errors import PublishRefusedError
from afield._bus.publisher import RESULT_EXISTS, PubAck
from afield._wire import subjects
from afield._wire.codec import WireError, decode, encode
from afield._wire.messages import ErrorInfo, InputPack, InputResult, Move, ResultPack, Status
from afield._wire.streams import INLINE_LIMIT, RESULT_TTL
from afield._wire.subjects import InputSubject, Pack
from afield_common.jetstream import JetStream
from afield_common.log import get_logger

log = get_logger(__name__)

PAGE: Final = 512
PAGE_BYTES: Final = 4 * 2**20
"""Messages and bytes that are read, and whose results are under way, at the same time."""


class Verdict(NamedTuple):
    """How inputs end."""

    status: Status
    error: ErrorInfo


@dataclass
class Ended:
    """What was ended."""

    packs: int = 0
    inputs: int = 0
    decided: int = 0
    """Packs that had no result yet."""
    functions: set[str] = field(default_factory=set)


class Endings:
    """Ends inputs of one call, or of one function."""

    def __init__(self, bus: Bus, now: Callable[[], float]) -> None:
        """`now` returns Unix time."""
        self._bus = bus
        self._jet = JetStream(bus)
        self._now = now

    async def end(
        self,
        shard: int,
        wanted: str,
        verdict: Verdict,
        *,
        indices: frozenset[int] = frozenset(),
        up_to: int | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Ended:
        """End the inputs of a shard whose subjects match `wanted`; return what they were.

        `indices`: of one call, which inputs; the others of a pack go on in packs of their own. Empty means all.
        `up_to`: the last sequence of the stream that is concerned. `go_on` is asked before each page. What is published
        meanwhile is ended as well, if it lies within `up_to`. Raises BusError, and can be called again then.
        """
        stream = subjects.input_stream(shard)
        ended = Ended()
        start, more = 1, True
        while more and go_on():
            page, more = await get_next_batch(
                self._bus, stream, wanted, start_seq=start, batch=PAGE, max_bytes=PAGE_BYTES
            )
            if up_to is not None:
                page = [stored for stored in page if stored.seq <= up_to]
            if not page:
                break
            start = page[-1].seq + 1
            concerned = await self._end_page(page, verdict, indices, ended)
            if indices:
                for subject in concerned:
                    await self._jet.purge(stream, subject)
            else:
                # Only up to what was seen: what came since has no result yet.
                await self._jet.purge(stream, wanted, up_to=page[-1].seq)
        return ended

    async def _end_page(
        self, page: list[StoredMessage], verdict: Verdict, indices: frozenset[int], ended: Ended
    ) -> list[str]:
        """Store the results of a page of inputs; return the subjects of those that are concerned."""
        moved: list[_Message] = []
        results: list[_Message] = []
        concerned: list[str] = []
        for stored in page:
            try:
                address = subjects.parse_input(stored.subject)
            except ValueError as error:
                log.error("an input that nobody can answer is removed", error=str(error))
                continue
            if indices and indices.isdisjoint(address.pack.indices):
                continue
            kept = frozenset(i for i in address.pack.indices if indices and i not in indices)
            pack = _read(stored)
            moved += [_alone(address, pack, index) for index in sorted(kept)]
            results.append(_result(address, pack, verdict, kept, self._now()))
            concerned.append(stored.subject)
            ended.packs += 1
            ended.inputs += address.pack.size - len(kept)
            ended.functions.add(address.function_id)
        # First: they decide, and say how the others go on.
        ended.decided += await self._publish(results)
        await self._publish(moved)
        return concerned

    async def _publish(self, messages: list["_Message"]) -> int:
        """Publish; return how many were stored, and not refused as there is one already."""
        publisher = self._bus.publisher
        flights: list[asyncio.Future[PubAck]] = []
        try:
            for message in messages:
                await publisher.ready()
                flights.append(
                    publisher.start(message.subject, message.payload, msg_id=message.msg_id, ttl=message.ttl)
                )
        finally:
            outcomes = await asyncio.gather(*flights, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for outcome in refused:
            if not isinstance(outcome, PublishRefusedError) or outcome.err_code != RESULT_EXISTS:
                raise outcome
        return len(messages) - len(refused)  # the others were faster, and stand


class _Message(NamedTuple):
    subject: str
    payload: bytes
    msg_id: str
    ttl: float | None


def _read(stored: StoredMessage) -> InputPack | None:
    try:
        return decode(InputPack, stored.data)
    except WireError as error:
        log.warning("an input that is ended cannot be read", subject=stored.subject, error=str(error))
        return None


def _result(
    address: InputSubject, pack: InputPack | None, verdict: Verdict, kept: frozenset[int], now: float
) -> _Message:
    """The result of a pack all of whose inputs end, save those in `kept`."""
    error = _fitting(verdict.error, address.pack.size)
    if pack is not None and pack.history:
        error = replace(error, history=pack.history)
    result = ResultPack(
        call_id=address.call_id,
        first=address.pack.first,
        results=tuple(
            InputResult(index=i, status="moved")
            if i in kept
            else InputResult(index=i, status=verdict.status, error=error)
            for i in address.pack.indices
        ),
        container_id="",
        worker_id="",
        stored_by=now,
        moves=tuple(
            Move(
                index=index,
                attempt=address.attempt,
                losses=0 if pack is None else pack.losses,
                not_before=0.0 if pack is None else pack.not_before,
            )
            for index in sorted(kept)
        ),
    )
    return _Message(
        subjects.result(address.ws, address.call_id, address.pack),
        encode(result),
        f"{address.call_id}.{address.pack}.{verdict.error.kind}",
        # One whose kind is not known may have been spawned, and be asked for late.
        RESULT_TTL["spawn" if pack is None else pack.kind],
    )


def _alone(address: InputSubject, pack: InputPack | None, index: int) -> _Message:
    """One input of a pack as a pack of its own. Raises WireError for a pack that could not be read."""
    if pack is None:
        raise WireError(f"the pack {address} cannot be read, so it cannot be ended in part")
    alone = replace(pack, first=index, args=(pack.args[index - pack.first],))
    subject = address._replace(pack=Pack(index, 1))
    return _Message(str(subject), encode(alone), f"{address.call_id}.{index}-1.{address.attempt}", None)


def _fitting(error: ErrorInfo, size: int) -> ErrorInfo:
    """Return the error such that `size` results that carry it fit into a message."""
    if len(encode(error)) * size <= INLINE_LIMIT:
        return error
    tail = INLINE_LIMIT // (4 * size)
    return replace(
        error, exception=None, log_tail=(), message=error.message[:tail], traceback=error.traceback[-tail:]
    )
