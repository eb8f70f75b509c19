"""What `.map()` returns: results that are computed while they are iterated."""

import asyncio
import sys
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sized,
)
from contextlib import aclosing, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from weakref import ref

import anyio
import anyio.to_thread

from afield import output
from afield._context import current_input_id
from afield._feed import make_feed
from afield._map_run import MapRun
from afield._outcome import CallOutcome
from afield._sync import aiterate, iterate, warn_if_in_loop
from afield._trim import TRIMMED
from afield._uplink import Uplink
from afield.exception import ClientClosed, InvalidError

if TYPE_CHECKING:
    from afield.function import Function

R = TypeVar("R")

_MOST_SHOWN = 1000
"""Inputs up to which a map is run in order to show it at an interactive prompt."""


class MapOptions(NamedTuple):
    """How a map was asked for."""

    kwargs: dict[str, Any]
    star: bool = False
    ordered: bool = True
    return_exceptions: bool = False


class MapReading(Generic[R]):
    """One pass over the results. It does not know the MapResults: what nobody refers to any more ends at once."""

    def __init__(
        self,
        function: "Function[..., Any, Any]",
        inputs: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        options: MapOptions,
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._options = options
        self._uplink: Uplink | None = None

    def values(self) -> Generator[R, None, None]:
        """Run the map and yield the results, for a caller that blocks."""
        opener = partial(self._open, None, current_input_id() or "")
        with TRIMMED:
            try:
                with self._told(), closing(iterate(opener)) as outcomes:
                    for outcome in outcomes:
                        output.settle()
                        yield self._value(outcome)
                        self._check()
            finally:
                output.settle()  # what was said at its end comes before what the caller says next

    async def values_async(self) -> AsyncGenerator[R, None]:
        """Run the map and yield the results, on a loop."""
        here = self._function._is_here()
        home = None if here else asyncio.get_running_loop()
        opener = partial(self._open, home, current_input_id() or "")
        with TRIMMED:
            try:
                with self._told():
                    async with aclosing(aiterate(opener, here=here)) as outcomes:
                        async for outcome in outcomes:
                            await output.settle_async()
                            yield self._value(outcome)
                            self._check()
            finally:
                with anyio.CancelScope(shield=True):
                    await output.settle_async()

    def _value(self, outcome: CallOutcome) -> Any:
        if not self._options.return_exceptions:
            return outcome.unwrap()
        try:
            return outcome.unwrap()
        except Exception as error:
            return error

    def _check(self) -> None:
        if self._uplink is not None and self._uplink.closed:
            raise InvalidError(
                f"the app of {self._function._name}.map() has ended, and the map with it: take all of its results "
                f"inside the `with app.run()` block"
            )

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        """What fails because the app has ended says so."""
        try:
            yield
        except ClientClosed:
            self._check()
            raise

    async def _open(self, home: asyncio.AbstractEventLoop | None, parent: str) -> MapRun:
        function, options = self._function, self._options
        feed = make_feed(self._inputs, options.kwargs, star=options.star, home=home)
        binding = await function._hydrate()
        function._check_callable("map")
        self._uplink = binding.uplink
        client = await binding.uplink.client()
        return MapRun(
            client,
            binding.record,
            feed,
            ordered=options.ordered,
            parent=parent,
            method=function._method,
            progress=output.map_progress(function._name, self._total()),
        ).start()

    def _total(self) -> int | None:
        """How many inputs there will be, if that can be told beforehand."""
        sizes = [len(each) if isinstance(each, Sized) else None for each in self._inputs]
        return None if None in sizes else min(size for size in sizes if size is not None)


class MapResults(Generic[R]):
    """The results of a map, for one pass of `for` or `async for`. Nothing runs before that."""

    def __init__(
        self,
        function: "Function[..., Any, Any]",
        inputs: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        options: MapOptions,
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._reading: MapReading[R] = MapReading(function, inputs, options)
        self._begun = False
        self._shown: list[R] | None = None
        self._taken: Iterator[R] | None = None
        self._pass: Callable[[], Generator[R, None, None] | AsyncGenerator[R, None] | None] = lambda: None
        """A weak reference to the pass that was begun: a loop that is left drops it, and ends the map so."""

    def __iter__(self) -> Iterator[R]:
        """Run the map; results come in the order of their inputs, unless `order_outputs` was unset."""
        if self._shown is not None:
            return iter(self._shown)
        if self._taken is not None:
            return self._taken
        warn_if_in_loop("Function.map()", "async for result in function.map.aio()")
        self._begin()
        values = self._reading.values()
        self._pass = ref(values)
        return values

    def __next__(self) -> R:
        """Return the next result; the map runs from the first one on."""
        if self._taken is None:
            self._taken = iter(self)
        return next(self._taken)

    def __aiter__(self) -> AsyncIterator[R]:
        """Run the map, for `async for`."""
        self._begin()
        values = self._reading.values_async()
        self._pass = ref(values)
        return values

    def close(self) -> None:
        """End the map: what has no result yet is cancelled. Harmless at its end; one that never ran never will."""
        self._begun = True
        values, self._taken = self._pass(), iter(())
        if isinstance(values, AsyncGenerator):
            raise InvalidError(
                f"these results of {self._function._name}.map() are taken with `async for`: use `await ….aclose()`"
            )
        if values is not None:
            values.close()

    async def aclose(self) -> None:
        """As `close`, from a loop, however the results are taken."""
        values = self._pass()
        if isinstance(values, AsyncGenerator):
            self._taken = iter(())
            await values.aclose()
        else:
            await anyio.to_thread.run_sync(self.close)

    def _begin(self) -> None:
        if self._begun:
            raise InvalidError(
                f"these results of {self._function._name}.map() have been taken already: call .map() again, "
                f"or keep them in a list"
            )
        self._begun = True

    # -- when nobody iterates --

    def __repr__(self) -> str:
        """Describe it. At an interactive prompt, where inputs of a known small number were given: run it, show the list."""
        if self._shown is None and not self._begun and hasattr(sys, "ps1") and self._is_small():
            self._begin()
            self._shown = list(self._reading.values())
        if self._shown is not None:
            return repr(self._shown)
        state = "being taken" if self._begun else "not computed yet: iterate over them"
        return f"<results of {self._function._name}.map(), {state}>"

    def _is_small(self) -> bool:
        return all(isinstance(each, Sized) and len(each) <= _MOST_SHOWN for each in self._inputs)

    def __del__(self) -> None:
        """Warn about a map that never ran: most likely `for_each` or `list()` is missing."""
        if not getattr(self, "_begun", True) and not sys.is_finalizing():
            warnings.warn(
                f"the results of {self._function._name}.map() were never iterated, so nothing was run: "
                f"use .for_each(), or list(...) around it",
                RuntimeWarning,
                stacklevel=2,
            )
