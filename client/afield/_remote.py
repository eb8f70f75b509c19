"""The ways to make one call: `.remote`, `.remote_gen`, `.spawn`."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from afield import output
from afield._bus_errors import as_user_errors
from afield._context import current_input_id
from afield._generator_run import GeneratorRun
from afield._outcome import CallOutcome
from afield._platform import Client
from afield._portal import get_portal
from afield._single import Waiter
from afield._spawn import spawn_one
from afield._sync import aiterate, iterate, warn_if_in_loop
from afield._trim import TRIMMED, trimmed, trimmed_async
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef
from afield._wire.streams import INLINE_LIMIT
from afield.serialization import Serialized, dumps_call, loads

if TYPE_CHECKING:
    from afield.call import FunctionCall
    from afield.function import Function

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class Remote(Generic[P, R]):
    """`function.remote`: call it to block for the result, `.aio` to await it."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[P, R, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in a container and return its result; raises what the function raised."""
        function = self._function
        warn_if_in_loop("Function.remote()", "await function.remote.aio()")
        function._check_callable("remote")
        data = dumps_call(args, kwargs)
        binding = function._binding
        client = binding.uplink.portal_client if binding is not None else None
        if binding is not None and client is not None:
            if data.size <= INLINE_LIMIT:
                return _call_stored(client, binding.record, data.join(), function._method)  # type: ignore[no-any-return]
            if client.payloads.host:
                return _call_large(client, binding.record, data, function._method)  # type: ignore[no-any-return]
        outcome = get_portal().run(partial(_call, function, data, current_input_id() or ""))
        output.settle()
        return outcome.unwrap()  # type: ignore[no-any-return]

    @trimmed_async
    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in a container and return its result; raises what the function raised."""
        function = self._function
        function._check_callable("remote")
        call = partial(_call, function, dumps_call(args, kwargs), current_input_id() or "")
        outcome = await (call() if function._is_here() else get_portal().bridge(call))
        await output.settle_async()
        return outcome.unwrap()  # type: ignore[no-any-return]


async def _call(function: "Function[..., Any, Any]", data: Serialized, parent: str) -> CallOutcome:
    binding = await function._hydrate()
    function._check_callable("remote")
    client = await binding.uplink.client()
    return await client.call(binding.record, data, parent=parent, method=function._method)


def _call_large(client: Client, record: FunctionRecord, data: Serialized, method: str) -> Any:
    """The same with arguments in a file, which this thread writes itself."""
    portal = get_portal()
    portal.refuse_own_thread()
    call_id = client.next_call_id(record.shard)
    payload = client.payloads.write(data, call_id)
    try:
        return _call_stored(client, record, payload, method, call_id)
    finally:
        _discard(client, payload)


def _call_stored(
    client: Client, record: FunctionRecord, payload: bytes | BlobRef, method: str, call_id: str = ""
) -> Any:
    """The quick way of a blocking call: no task, this thread sends the input, the portal's loop takes the result."""
    portal = get_portal()
    portal.refuse_own_thread()
    waiter = Waiter()
    try:
        call = waiter.started = client.make_call(
            record, waiter.done, parent=current_input_id() or "", call_id=call_id
        )
        client.start_call(call, record, payload, method=method)
        call = waiter.wait()
    except BaseException:
        portal.loop.call_soon_threadsafe(_give_up, waiter, client)
        raise
    output.settle()
    if call.error is not None:
        raise call.error
    result = call.result
    assert result is not None
    if result.status == "ok":
        if isinstance(result.value, bytes):
            return loads(result.value)
        if client.payloads.is_near(result.value):
            return _load_large(client, result.value)
    return portal.run(client.outcome, call, record.spec).unwrap()


def _load_large(client: Client, value: BlobRef) -> Any:
    """Load a value from a file in this thread, then remove the file."""
    try:
        with as_user_errors():
            return loads(client.payloads.map(value))
    finally:
        _discard(client, value)


def _discard(client: Client, payload: BlobRef) -> None:
    """Remove the file of a payload; a large one elsewhere, as that takes the kernel a while."""
    if not client.payloads.discard_if_quick(payload):
        get_portal().loop.call_soon_threadsafe(client.later, client.payloads.discard, payload)


def _give_up(waiter: Waiter, client: Client) -> None:
    if waiter.started is not None and waiter.call is None:
        client.abandon(waiter.started)


class RemoteGen(Generic[P, Y]):
    """`function.remote_gen`: a generator; `.aio` gives an asynchronous one."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[P, Any, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Generator[Y, None, None]:
        """Run the generator in a container; its values are yielded as they come. Closing early cancels it."""
        warn_if_in_loop("Function.remote_gen()", "async for value in function.remote_gen.aio()")
        return self._values(self._opener(args, kwargs))

    @trimmed
    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Y, None]:
        """Run the generator in a container; its values are yielded as they come. Closing early cancels it."""
        return self._values_async(self._opener(args, kwargs))

    def _opener(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Callable[[], Any]":
        self._function._check_callable("remote_gen", generator=True)
        return partial(_open, self._function, dumps_call(args, kwargs), current_input_id() or "")

    def _values(self, opener: "Callable[[], Any]") -> Generator[Y, None, None]:
        with TRIMMED, closing(iterate(opener)) as outcomes:
            for outcome in outcomes:
                output.settle()
                yield outcome.unwrap()

    async def _values_async(self, opener: "Callable[[], Any]") -> AsyncGenerator[Y, None]:
        with TRIMMED:
            async with aclosing(aiterate(opener, here=self._function._is_here())) as outcomes:
                async for outcome in outcomes:
                    await output.settle_async()
                    yield outcome.unwrap()


async def _open(function: "Function[..., Any, Any]", data: Serialized, parent: str) -> GeneratorRun:
    binding = await function._hydrate()
    function._check_callable("remote_gen", generator=True)
    client = await binding.uplink.client()
    return await GeneratorRun(client, binding.record).start(data, parent=parent, method=function._method)


class Spawn(Generic[P, R]):
    """`function.spawn`: returns a FunctionCall once the input is stored; `.aio` to await that."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[P, R, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> "FunctionCall[R]":
        """Start a call. Its result is kept for 7 days."""
        warn_if_in_loop("Function.spawn()", "await function.spawn.aio()")
        return get_portal().run(self._opener(args, kwargs))

    @trimmed_async
    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> "FunctionCall[R]":
        """Start a call. Its result is kept for 7 days."""
        opener = self._opener(args, kwargs)
        return await (opener() if self._function._is_here() else get_portal().bridge(opener))

    def _opener(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Callable[[], Any]":
        self._function._check_callable("spawn")
        return partial(_spawn, self._function, dumps_call(args, kwargs), current_input_id() or "")


async def _spawn(function: "Function[..., R, Any]", data: Serialized, parent: str) -> "FunctionCall[R]":
    from afield.call import FunctionCall

    binding = await function._hydrate()
    function._check_callable("spawn")
    client = await binding.uplink.client()
    call_id = await spawn_one(client, binding.record, data, parent=parent, method=function._method)
    return FunctionCall._of(call_id, binding.uplink, binding.record.spec, single=True)
