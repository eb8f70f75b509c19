"""FunctionCall: a call that was started, and whose results can be asked for."""

import asyncio
import builtins
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from functools import partial
from typing import Any, Generic, TypeVar

import anyio

from afield import output
from afield._outcome import CallOutcome
from afield._platform import Client
from afield._portal import get_portal
from afield._single import SingleCall
from afield._sync import Outcome, aiterate, answers, faces, iterate, warn_if_in_loop
from afield._trim import TRIMMED, trimmed, trimmed_async
from afield._uplink import Uplink, default_uplink_async
from afield._wire import subjects
from afield._wire.api import CALL_GET, CallRef, CallState
from afield._wire.functions import FunctionSpec
from afield._wire.ids import parse_call_id
from afield.exception import InvalidError, NotFoundError, UnimplementedError

R = TypeVar("R")
T = TypeVar("T")


class FunctionCall(Generic[R]):
    """A handle on a call, from `.spawn()`, `.spawn_map()` or `FunctionCall.from_id`. It can be pickled.

    Results are kept for 7 days after the call has ended.
    """

    def __init__(self, call_id: str) -> None:
        try:
            parse_call_id(call_id)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        self._call_id = call_id
        self._uplink: Uplink | None = None
        self._spec: FunctionSpec | None = None
        self._count: int | None = None

    @classmethod
    def _of(
        cls,
        call_id: str,
        uplink: Uplink,
        spec: FunctionSpec,
        *,
        single: bool = False,
        count: int | None = None,
    ) -> "FunctionCall[Any]":
        call: FunctionCall[Any] = cls(call_id)
        call._uplink = uplink
        call._spec = spec
        call._count = 1 if single else count
        return call

    @property
    def object_id(self) -> str:
        """Its id (`fc-…`): enough to find the results from anywhere."""
        return self._call_id

    def __repr__(self) -> str:
        return f"FunctionCall({self._call_id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCall, (self._call_id,)

    @answers
    async def get(self, timeout: float | None = None, *, index: int = 0) -> Outcome[R]:
        """Wait for a result and return it; raises what the function raised.

        `timeout`: seconds to wait, 0 to look once, None to wait for ever; the builtin TimeoutError is raised when
        there is no result by then. `index`: which input, for a call with several. Raises NotFoundError for a call
        that the platform does not know (any more).
        """
        _check_get(timeout, index)
        outcome = await self._outcome(timeout, index)
        await output.settle_async()
        return outcome

    @faces
    async def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel the inputs that have not ended. `terminate_containers`: also stop the containers that run them."""
        from afield._bus_errors import as_user_errors

        client = await self._client()
        with as_user_errors():
            await client.cancel(self._call_id, terminate_containers=terminate_containers)

    @faces
    async def num_inputs(self) -> int:
        """Return how many inputs the call has."""
        if self._count is None:
            self._count = (await self._state(0)).inputs
        return self._count

    @property
    def iter(self) -> "_Iter[R]":
        """Yield the results of inputs `start` to `end` (exclusive), waiting for each; `.iter.aio` for `async for`."""
        return _Iter(self)

    async def _open(self, start: int, end: int | None) -> "_Results":
        return _Results(self, start, await self.num_inputs.__wrapped__() if end is None else end)

    def get_call_graph(self) -> list[Any]:
        """Not available yet."""
        raise UnimplementedError("FunctionCall.get_call_graph() is not available yet")

    # -- inside --

    def _is_here(self) -> bool:
        return self._uplink is not None and not self._uplink.closed and self._uplink.is_here()

    async def _client(self) -> Client:
        if self._uplink is None or self._uplink.closed:
            self._uplink = await default_uplink_async()
        return await self._uplink.client()

    async def _state(self, index: int) -> CallState:
        """Return what is stored of an input and, in numbers, of the whole call, which may be of a million inputs."""
        client = await self._client()
        state = await client.request(CALL_GET, CallRef(ws=client.ws, call_id=self._call_id, indices=(index,)))
        if not state.inputs:
            raise NotFoundError(
                f"the platform knows no call {self._call_id}: it is from another environment, was purged, "
                f"or its results have been kept for their time"
            )
        return state

    async def _outcome(self, timeout: float | None, index: int) -> CallOutcome:
        client = await self._client()
        ended = asyncio.Event()
        sink = SingleCall(self._call_id, lambda _: ended.set(), index=index, places=[f"{index}-1"])
        async with _watching(client, sink):
            await self._look(client, sink)
            if not ended.is_set():
                with anyio.move_on_after(timeout):
                    await ended.wait()
            if not ended.is_set():
                raise builtins.TimeoutError(f"call {self._call_id} had no result after {timeout:g} s")
        return await client.outcome(sink, self._spec, keep=True)

    async def _look(self, client: Client, sink: SingleCall) -> None:
        """Read the result if it is stored already; find out where it will be, if it is not in a pack of its own."""
        from afield._bus_errors import as_user_errors

        with as_user_errors():
            await client.inbox.read(sink, before=time.monotonic())
        if sink.done is None or (self._count == 1 and sink.index == 0):
            return
        state = await self._state(sink.index)
        tokens = (*state.pending, *state.finished)
        if not tokens:
            raise NotFoundError(f"call {self._call_id} has no input {sink.index}")
        sink.places = list(dict.fromkeys([*tokens, f"{sink.index}-1"]))
        with as_user_errors():
            await client.inbox.read(sink, before=time.monotonic())

    # -- of the class --

    from_id: "_FromId"
    gather: "_Gather"


@asynccontextmanager
async def _watching(client: Client, sink: SingleCall) -> AsyncIterator[None]:
    """Receive the results of a call, of this session or of another, for as long as the block lasts."""
    foreign = parse_call_id(sink.call_id).session != client.session
    client.inbox.watch(sink)
    subscription = None
    try:
        if foreign:
            subject = subjects.stored_results_of_call(client.ws, sink.call_id)
            subscription = client.bus.open_subscription(subject, client.inbox.on_message)
            await client.bus.flush()
        yield
    finally:
        client.inbox.remove(sink)
        if subscription is not None:
            subscription.close()


class _Results:
    """`Batches` (see `_sync`) of a call's outcomes, one by one."""

    def __init__(self, call: FunctionCall[Any], start: int, end: int) -> None:
        self._call = call
        self._next = start
        self._end = end

    async def next_batch(self) -> Sequence[CallOutcome] | None:
        if self._next >= self._end:
            return None
        self._next += 1
        return [await self._call._outcome(None, self._next - 1)]

    async def aclose(self) -> None:
        """Nothing is held between batches."""


class _Iter(Generic[R]):
    """`call.iter`: a generator of results; `.aio` gives an asynchronous one."""

    def __init__(self, call: FunctionCall[R]) -> None:
        self._call = call

    @trimmed
    def __call__(self, *, start: int = 0, end: int | None = None) -> Generator[R, None, None]:
        """Yield the results of inputs `start` to `end` (exclusive), waiting for each in turn."""
        warn_if_in_loop("FunctionCall.iter()", "async for result in call.iter.aio()")
        with TRIMMED, closing(iterate(partial(self._call._open, start, end))) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

    @trimmed
    async def aio(self, *, start: int = 0, end: int | None = None) -> AsyncGenerator[R, None]:
        """Yield the results of inputs `start` to `end` (exclusive), waiting for each in turn."""
        opener = partial(self._call._open, start, end)
        with TRIMMED:
            async with aclosing(aiterate(opener, here=self._call._is_here())) as outcomes:
                async for outcome in outcomes:
                    yield outcome.unwrap()


class _FromId:
    """`FunctionCall.from_id`: no I/O happens, the `.aio` form is there for symmetry."""

    def __call__(self, function_call_id: str, client: object | None = None) -> FunctionCall[Any]:
        """Return the call with this id. Raises InvalidError for what cannot be one."""
        if client is not None:
            raise UnimplementedError("the parameter `client` is not available yet")
        return FunctionCall(function_call_id)

    async def aio(self, function_call_id: str, client: object | None = None) -> FunctionCall[Any]:
        """Return the call with this id. Raises InvalidError for what cannot be one."""
        return self(function_call_id, client)


class _Gather:
    """`FunctionCall.gather`: wait for several calls."""

    @trimmed
    def __call__(self, *function_calls: FunctionCall[T]) -> Sequence[T]:
        """Return the results of all calls, in order. The first failure is raised at once; the others go on."""
        _check_calls(function_calls)
        warn_if_in_loop("FunctionCall.gather()", "await FunctionCall.gather.aio()")
        return _unwrap(get_portal().run(partial(_gather, function_calls)))

    @trimmed_async
    async def aio(self, *function_calls: FunctionCall[T]) -> Sequence[T]:
        """Return the results of all calls, in order. The first failure is raised at once; the others go on."""
        _check_calls(function_calls)
        work = partial(_gather, function_calls)
        here = all(call._is_here() for call in function_calls)
        return _unwrap(await (work() if here else get_portal().bridge(work)))


def _check_calls(calls: Sequence[object]) -> None:
    for call in calls:
        if isinstance(call, (list, tuple)):
            raise InvalidError(
                f"expected FunctionCalls, each an argument of its own, got a {type(call).__name__}: "
                f"write FunctionCall.gather(*calls)"
            )
        if not isinstance(call, FunctionCall):
            raise InvalidError(
                f"expected FunctionCalls, as .spawn() returns them, got {call!r} ({type(call).__name__})"
            )


def _check_get(timeout: object, index: object) -> None:
    if timeout is not None:
        number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if not number or not timeout >= 0:  # type: ignore[operator]  # not a number fails, too
            raise InvalidError(
                f"expected timeout to be seconds from 0, or None to wait for ever; got {timeout!r}"
            )
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise InvalidError(f"expected index to be the number of an input, from 0; got {index!r}")


async def _gather(calls: Sequence[FunctionCall[Any]]) -> list[CallOutcome]:
    """Return all outcomes, or the first bad one alone."""
    outcomes: list[CallOutcome | None] = [None] * len(calls)
    failed: list[CallOutcome] = []
    errors: list[Exception] = []

    async with anyio.create_task_group() as group:

        async def wait(place: int, call: FunctionCall[Any]) -> None:
            try:
                outcome = outcomes[place] = await call._outcome(None, 0)
            except Exception as error:
                errors.append(error)
                group.cancel_scope.cancel()
                return
            if outcome.error is not None:
                failed.append(outcome)
                group.cancel_scope.cancel()

        for place, call in enumerate(calls):
            group.start_soon(wait, place, call)
    if failed:
        return failed[:1]
    if errors:
        raise errors[0]
    return [outcome for outcome in outcomes if outcome is not None]


def _unwrap(outcomes: Sequence[CallOutcome]) -> list[Any]:
    return [outcome.unwrap() for outcome in outcomes]


FunctionCall.from_id = _FromId()
FunctionCall.gather = _Gather()
