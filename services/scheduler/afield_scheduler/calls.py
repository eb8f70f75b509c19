"""Requests about one call: cancel it, see what is stored of it, forget it. Stateless: the streams know."""

from collections.abc import Callable
from typing import Final

import anyio

from afield._bus.connection import Bus
from afield._bus.direct import get_last
from afield._bus.errors import PublishRefusedError
from afield._bus.publisher import RESULT_EXISTS
from afield._wire import subjects
from afield._wire.api import CallRef, CallState, Done
from afield._wire.codec import decode, encode
from afield._wire.ids import is_token, parse_call_id
from afield._wire.messages import CallControl, ErrorInfo, Event, InputPack, InputResult, ResultPack, Status
from afield._wire.streams import RESULT_TTL
from afield._wire.subjects import InputSubject, Pack
from afield_common.errors import RefusedError
from afield_common.jetstream import JetStream
from afield_common.log import get_logger

log = get_logger(__name__)

_CANCEL_S: Final = 8.0
"""Seconds in which a call's inputs must come to an end; its caller or a worker may add some while we look."""

_AT_ONCE: Final = 256
"""Results stored at the same time."""


class Calls:
    """Answers `scheduler.call.*`."""

    def __init__(self, bus: Bus, now: Callable[[], float], app_of: Callable[[str], str]) -> None:
        """`now` returns Unix time; `app_of` the app id of a function id, `-` when it is not known."""
        self._bus = bus
        self._jet = JetStream(bus)
        self._now = now
        self._app_of = app_of

    async def get(self, request: CallRef) -> CallState:
        """Return which packs of a call wait or run, and which have a result."""
        _check(request)
        listed, _ = await self._pending(request)
        finished = await self._finished(request)
        pending = {each.pack for each in listed} - finished
        return CallState(call_id=request.call_id, pending=_tokens(pending), finished=_tokens(finished))

    async def forget(self, request: CallRef) -> Done:
        """Remove the stored results of a call."""
        _check(request)
        results = subjects.results_of_call(request.ws, request.call_id)
        await self._jet.purge(subjects.RESULTS_STREAM, results)
        return Done()

    async def cancel(self, request: CallRef) -> Done:
        """End the inputs of a call that have no result yet as cancelled.

        First the results are stored (where one stands already, it stays), then the inputs are removed, then those who
        run them are told.
        """
        _check(request)
        function_ids: set[str] = set()
        with anyio.move_on_after(_CANCEL_S) as scope:
            while pending := await self._end_pending(request):
                function_ids |= pending
                await self._control(request)  # whoever makes retries must know before the next look
        if scope.cancelled_caught:
            raise RefusedError("unavailable", f"inputs of {request.call_id} keep appearing; try again")
        await self._control(request)
        await self._tell(request, function_ids)
        log.info("call cancelled", call_id=request.call_id, inputs=len(request.indices) or "all")
        return Done()

    # -- parts of a cancellation --------------------------------------------------------------------

    async def _end_pending(self, request: CallRef) -> set[str]:
        """End the inputs that are there now; return the functions they were for, none if there were none."""
        listed, last_seq = await self._pending(request)
        pending = [each for each in listed if _concerned(each.pack, request.indices)]
        if pending:
            await self._end(request, pending, last_seq)
        return {each.function_id for each in pending}

    async def _control(self, request: CallRef) -> None:
        """Tell those who run the call. At most once, hence repeated by the caller of a cancellation if need be."""
        control = CallControl(
            verb="cancel",
            call_id=request.call_id,
            indices=request.indices,
            terminate_containers=request.terminate_containers,
        )
        await self._bus.publish(subjects.call_control(request.ws, request.call_id), encode(control))

    async def _end(self, request: CallRef, pending: list[InputSubject], last_seq: int) -> None:
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def end(each: InputSubject) -> None:
            async with limit:
                kept = [i for i in each.pack.indices if request.indices and i not in request.indices]
                if not kept or await self._move(each, kept):
                    await self._store(request.ws, each, set(kept))

        async with anyio.create_task_group() as tasks:
            for each in pending:
                tasks.start_soon(end, each)
        if request.indices:
            for each in pending:
                await self._jet.purge(subjects.input_stream(each.shard), str(each))
        else:
            # Only up to what we saw: a retry published since has no result yet.
            stream = subjects.input_stream(subjects.shard_of(request.call_id))
            whole = subjects.inputs_of_call(request.ws, request.call_id)
            await self._jet.purge(stream, whole, up_to=last_seq)

    async def _move(self, each: InputSubject, kept: list[int]) -> bool:
        """Give the inputs of a pack that are not cancelled packs of their own; False if the pack is gone."""
        stored = await get_last(self._bus, subjects.input_stream(each.shard), str(each))
        if stored is None:
            return False
        whole = decode(InputPack, stored.data)
        for index in kept:
            alone = InputPack(
                call_id=whole.call_id,
                function_id=whole.function_id,
                kind=whole.kind,
                first=index,
                args=(whole.args[index - whole.first],),
                sent_at=whole.sent_at,
                caller_host=whole.caller_host,
                parent=whole.parent,
                attempt=whole.attempt,
                losses=whole.losses,
                not_before=whole.not_before,
            )
            subject = str(each._replace(pack=Pack(index, 1)))
            await self._publish(subject, encode(alone), f"{each.call_id}.{index}-1.{each.attempt}")
        return True

    async def _store(self, ws: str, each: InputSubject, kept: set[int]) -> None:
        error = ErrorInfo(kind="cancelled", message="the call was cancelled")
        results = tuple(
            InputResult(index=i, status=status, error=None if i in kept else error)
            for i, status in ((i, _status(i, kept)) for i in each.pack.indices)
        )
        pack = ResultPack(
            call_id=each.call_id,
            first=each.pack.first,
            results=results,
            container_id="",
            worker_id="",
            stored_by=self._now(),
        )
        subject = subjects.result(ws, each.call_id, each.pack)
        # Whoever spawned the call may ask late, and the subject does not say whether it was spawned.
        await self._publish(
            subject, encode(pack), f"{each.call_id}.{each.pack}.cancel", ttl=RESULT_TTL["spawn"]
        )

    async def _publish(self, subject: str, payload: bytes, msg_id: str, *, ttl: float | None = None) -> None:
        try:
            await self._bus.publisher.publish(subject, payload, msg_id=msg_id, ttl=ttl)
        except PublishRefusedError as refused:
            if refused.err_code != RESULT_EXISTS:
                raise
            # Somebody was faster, and the first one stands.

    async def _tell(self, request: CallRef, function_ids: set[str]) -> None:
        for function_id in function_ids:
            app_id = self._app_of(function_id)
            event = Event(
                kind="call.cancelled",
                at=self._now(),
                app_id=app_id,
                function_id=function_id,
                call_id=request.call_id,
                detail="the call was cancelled",
            )
            subject = subjects.event(request.ws, app_id, function_id, request.call_id)
            await self._bus.publish(subject, encode(event))

    # -- what is stored -----------------------------------------------------------------------------

    async def _pending(self, request: CallRef) -> tuple[list[InputSubject], int]:
        """The packs of a call in its input stream, and that stream's last sequence when they were listed."""
        stream = subjects.input_stream(subjects.shard_of(request.call_id))
        found = await self._jet.subjects(stream, subjects.inputs_of_call(request.ws, request.call_id))
        return [subjects.parse_input(subject) for subject in found.subjects], found.last_seq

    async def _finished(self, request: CallRef) -> set[Pack]:
        """The packs of a call that have a result; a generator's chunks are none."""
        wanted = subjects.results_of_call(request.ws, request.call_id)
        found = await self._jet.subjects(subjects.RESULTS_STREAM, wanted)
        packs = (subjects.parse_result(subject).pack for subject in found.subjects)
        return {pack for pack in packs if pack is not None}


def _status(index: int, kept: set[int]) -> Status:
    return "moved" if index in kept else "cancelled"


def _check(request: CallRef) -> None:
    if not is_token(request.ws):
        raise RefusedError("invalid", f"expected the name of an environment, got {request.ws!r}")
    try:
        parse_call_id(request.call_id)
    except ValueError as error:
        raise RefusedError("invalid", str(error)) from None


def _concerned(pack: Pack, indices: tuple[int, ...]) -> bool:
    return not indices or any(index in pack.indices for index in indices)


def _tokens(packs: set[Pack]) -> tuple[str, ...]:
    return tuple(str(pack) for pack in sorted(packs))
