"""The ways to call a function for many inputs: `.map`, `.starmap`, `.for_each`, `.spawn_map`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from afield._context import current_input_id
from afield._feed import make_feed
from afield._portal import get_portal
from afield._spawn import spawn_map
from afield._sync import warn_if_in_loop
from afield._trim import TRIMMED, trimmed, trimmed_async
from afield.map_results import MapOptions, MapReading, MapResults

if TYPE_CHECKING:
    from afield.call import FunctionCall
    from afield.function import Function

R = TypeVar("R")

Inputs = Iterable[Any] | AsyncIterable[Any]
_NONE: Mapping[str, Any] = {}


class Map(Generic[R]):
    """`function.map`: call it for results to use with `for` or `async for`; `.aio` for an asynchronous generator."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[..., R, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(
        self,
        *input_iterators: Inputs,
        kwargs: Mapping[str, Any] = _NONE,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,  # noqa: ARG002 - taken for Modal's sake; they come as raised
    ) -> MapResults[R]:
        """Call the function for each input; several iterators are zipped, `kwargs` go along with each.

        Inputs are consumed as results are taken; at most 1,000 are in flight. Results come in the order of their
        inputs, or with `order_outputs=False` as they end. The first exception is raised, and cancels the rest;
        with `return_exceptions` they are returned among the results instead.
        """
        self._function._check_callable("map")
        options = MapOptions(dict(kwargs), False, order_outputs, return_exceptions)
        return MapResults(self._function, input_iterators, options)

    @trimmed
    def aio(
        self,
        *input_iterators: Inputs,
        kwargs: Mapping[str, Any] = _NONE,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,  # noqa: ARG002 - see above
    ) -> AsyncGenerator[R, None]:
        """As the blocking form, for `async for`."""
        self._function._check_callable("map")
        options = MapOptions(dict(kwargs), False, order_outputs, return_exceptions)
        return _asynchronously(self._function, input_iterators, options)


class Starmap(Generic[R]):
    """`function.starmap`: as `map`, each input is a sequence of arguments."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[..., R, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(
        self,
        input_iterator: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
        *,
        kwargs: Mapping[str, Any] = _NONE,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,  # noqa: ARG002 - see Map
    ) -> MapResults[R]:
        """Call the function with `*args` for each `args` of the iterator; see `map`."""
        self._function._check_callable("starmap")
        options = MapOptions(dict(kwargs), True, order_outputs, return_exceptions)
        return MapResults(self._function, (input_iterator,), options)

    @trimmed
    def aio(
        self,
        input_iterator: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
        *,
        kwargs: Mapping[str, Any] = _NONE,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,  # noqa: ARG002 - see Map
    ) -> AsyncGenerator[R, None]:
        """As the blocking form, for `async for`."""
        self._function._check_callable("starmap")
        options = MapOptions(dict(kwargs), True, order_outputs, return_exceptions)
        return _asynchronously(self._function, (input_iterator,), options)


async def _asynchronously(
    function: "Function[..., R, Any]", inputs: tuple[Inputs, ...], options: MapOptions
) -> AsyncGenerator[R, None]:
    reading: MapReading[R] = MapReading(function, inputs, options)
    with TRIMMED:
        async with aclosing(reading.values_async()) as values:
            async for value in values:
                yield value


class ForEach:
    """`function.for_each`: a map whose results are dropped."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[..., Any, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(
        self, *input_iterators: Inputs, kwargs: Mapping[str, Any] = _NONE, ignore_exceptions: bool = False
    ) -> None:
        """Call the function for each input and wait for all. The first exception is raised, unless ignored."""
        warn_if_in_loop("Function.for_each()", "await function.for_each.aio()")
        self._function._check_callable("for_each")
        results = MapResults[Any](self._function, input_iterators, _dropping(kwargs, ignore_exceptions))
        for _ in results:
            pass

    @trimmed_async
    async def aio(
        self, *input_iterators: Inputs, kwargs: Mapping[str, Any] = _NONE, ignore_exceptions: bool = False
    ) -> None:
        """Call the function for each input and wait for all. The first exception is raised, unless ignored."""
        self._function._check_callable("for_each")
        async for _ in _asynchronously(self._function, input_iterators, _dropping(kwargs, ignore_exceptions)):
            pass


def _dropping(kwargs: Mapping[str, Any], ignore_exceptions: bool) -> MapOptions:
    return MapOptions(dict(kwargs), False, False, ignore_exceptions)


class SpawnMap(Generic[R]):
    """`function.spawn_map`: starts a call with many inputs; `.aio` to await that."""

    __slots__ = ("_function",)

    def __init__(self, function: "Function[..., R, Any]") -> None:
        self._function = function

    @trimmed
    def __call__(self, *input_iterators: Inputs, kwargs: Mapping[str, Any] = _NONE) -> "FunctionCall[R]":
        """Store all inputs and return one FunctionCall for them. Results are kept for 7 days."""
        warn_if_in_loop("Function.spawn_map()", "await function.spawn_map.aio()")
        self._function._check_callable("spawn_map")
        return get_portal().run(
            partial(_spawn, self._function, input_iterators, dict(kwargs), None, current_input_id() or "")
        )

    @trimmed_async
    async def aio(self, *input_iterators: Inputs, kwargs: Mapping[str, Any] = _NONE) -> "FunctionCall[R]":
        """Store all inputs and return one FunctionCall for them. Results are kept for 7 days."""
        function = self._function
        function._check_callable("spawn_map")
        here = function._is_here()
        home = None if here else asyncio.get_running_loop()
        work = partial(_spawn, function, input_iterators, dict(kwargs), home, current_input_id() or "")
        return await (work() if here else get_portal().bridge(work))


async def _spawn(
    function: "Function[..., R, Any]",
    inputs: tuple[Inputs, ...],
    kwargs: dict[str, Any],
    home: asyncio.AbstractEventLoop | None,
    parent: str,
) -> "FunctionCall[R]":
    from afield.call import FunctionCall

    feed = make_feed(inputs, kwargs, star=False, home=home)
    binding = await function._hydrate()
    function._check_callable("spawn_map")
    client = await binding.uplink.client()
    call_id, count = await spawn_map(client, binding.record, feed, parent=parent, method=function._method)
    return FunctionCall._of(call_id, binding.uplink, binding.record.spec, count=count)
