"""Requests about one call: cancel it, see what is stored of it, forget it. Stateless: the streams know."""

from collections.abc import Callable, Iterable
from typing import Final

import anyio

from afield._bus.connection import Bus
from afield._bus.direct import get_newest
from afield._wire import subjects
from afield._wire.api import CallRef, CallState, Done
from afield._wire.codec import WireError, decode, encode
from afield._wire.ids import is_token, parse_call_id
from afield._wire.messages import CallControl, ErrorInfo, Event, ResultPack
from afield._wire.streams import EVENTS
from afield._wire.subjects import Pack
from afield_common.endings import Endings, Verdict
from afield_common.errors import RefusedError
from afield_common.jetstream import JetStream
from afield_common.log import get_logger
from afield_scheduler.states import call_phase

log = get_logger(__name__)

_CANCEL_S: Final = 8.0
"""Seconds in which a call's inputs must come to an end; its caller or a worker may add some while we look."""

MOST_LISTED: Final = 20_000
"""Packs that are listed in one reply, which must fit into a message."""

_CANCELLED: Final = Verdict("cancelled", ErrorInfo(kind="cancelled", message="the call was cancelled"))


class Calls:
    """Answers `scheduler.call.*`."""

    def __init__(
        self,
        bus: Bus,
        now: Callable[[], float],
        app_of: Callable[[str], str],
        rouse: Callable[[str, str], None],
    ) -> None:
        """`now` returns Unix time; `app_of` the app id of a function id, `-` when it is not known.

        `rouse(ws, function_id)` is told of a function that has inputs, in case that its client's wake-up was lost.
        """
        self._bus = bus
        self._jet = JetStream(bus)
        self._endings = Endings(bus, now)
        self._now = now
        self._app_of = app_of
        self._rouse = rouse

    async def get(self, request: CallRef) -> CallState:
        """Return which packs of a call wait or run, and which have a result, and where it is in its life.

        Raises RefusedError (`exhausted`) for a call of too many packs, unless some of its inputs are asked for.
        """
        _check(request)
        pending, finished = _Found(request), _Found(request)
        function_id = ""
        shard = subjects.shard_of(request.call_id)
        inputs = subjects.inputs_of_call(request.ws, request.call_id)
        async for page in self._jet.subject_pages(subjects.input_stream(shard), inputs):
            found = [subjects.parse_input(subject) for subject in page.subjects]
            pending.add(address.pack for address in found)
            function_id = found[0].function_id if found else function_id
        results = subjects.results_of_call(request.ws, request.call_id)
        async for page in self._jet.subject_pages(subjects.RESULTS_STREAM, results):
            packs = (subjects.parse_result(subject).pack for subject in page.subjects)
            finished.add(pack for pack in packs if pack is not None)  # chunks of generators are none
        # A pack that has its result and is not acknowledged yet is both.
        waiting = pending.packs - finished.packs
        if waiting:
            self._rouse(request.ws, function_id)
        over = not waiting if pending.complete else not pending.number
        return CallState(
            call_id=request.call_id,
            pending=_tokens(waiting),
            finished=_tokens(finished.packs),
            state=call_phase(
                stored=bool(pending.number or finished.number),
                pending=not over,
                cancelled=over and finished.number > 0 and await self._was_cancelled(request),
            ),
            inputs=max(pending.inputs, finished.inputs),
        )

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
        wanted = subjects.inputs_of_call(request.ws, request.call_id)
        shard, indices = subjects.shard_of(request.call_id), frozenset(request.indices)
        function_ids: set[str] = set()
        with anyio.move_on_after(_CANCEL_S) as scope:
            while (ended := await self._endings.end(shard, wanted, _CANCELLED, indices=indices)).packs:
                if ended.decided:
                    function_ids |= ended.functions
                await self._control(request)  # whoever makes retries must know before the next look
        if scope.cancelled_caught:
            raise RefusedError("unavailable", f"inputs of {request.call_id} are still being ended; try again")
        await self._control(request)
        if not request.indices:
            await self._tell(request, function_ids)
        log.info("call cancelled", call_id=request.call_id, inputs=len(request.indices) or "all")
        return Done()

    # -- parts ----------------------------------------------------------------------------------------

    async def _control(self, request: CallRef) -> None:
        """Tell those who run the call. At most once, hence repeated by the caller of a cancellation if need be."""
        control = CallControl(
            verb="cancel",
            call_id=request.call_id,
            indices=request.indices,
            terminate_containers=request.terminate_containers,
        )
        await self._bus.publish(subjects.call_control(request.ws, request.call_id), encode(control))

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

    async def _was_cancelled(self, request: CallRef) -> bool:
        """Tell whether a call that is over was cancelled, as its last result says, or an event: a pack may have ended by
        itself after others were cancelled."""
        event = subjects.event(request.ws, "*", "*", request.call_id)
        if await get_newest(self._bus, EVENTS.name, event) is not None:
            return True  # no other events are of calls
        wanted = subjects.results_of_call(request.ws, request.call_id)
        stored = await get_newest(self._bus, subjects.RESULTS_STREAM, wanted)
        if stored is None or subjects.parse_result(stored.subject).pack is None:
            return False
        try:
            results = decode(ResultPack, stored.data).results
        except WireError as error:
            log.warning("cannot read a result", subject=stored.subject, error=str(error))
            return False
        return any(result.status == "cancelled" for result in results)


class _Found:
    """Packs of a call, found page by page."""

    def __init__(self, request: CallRef) -> None:
        self._call_id = request.call_id
        self._indices = frozenset(request.indices)
        self.complete = not self._indices
        self.packs: set[Pack] = set()
        """Those that were asked for."""
        self.number = 0
        """Of all packs."""
        self.inputs = 0

    def add(self, packs: Iterable[Pack]) -> None:
        """Take note of more. Raises RefusedError when they are too many for a reply."""
        for pack in packs:
            self.number += 1
            self.inputs = max(self.inputs, pack.first + pack.size)
            if self.complete or not self._indices.isdisjoint(pack.indices):
                self.packs.add(pack)
        if len(self.packs) > MOST_LISTED:
            raise RefusedError(
                "exhausted",
                f"{self._call_id} has more than {MOST_LISTED:,} packs of inputs; ask for some inputs by their index",
            )


def _check(request: CallRef) -> None:
    if not is_token(request.ws):
        raise RefusedError("invalid", f"expected the name of an environment, got {request.ws!r}")
    try:
        parse_call_id(request.call_id)
    except ValueError as error:
        raise RefusedError("invalid", str(error)) from None


def _tokens(packs: set[Pack]) -> tuple[str, ...]:
    return tuple(str(pack) for pack in sorted(packs))
