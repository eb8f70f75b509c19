"""One asynchronous implementation, two faces: `thing.method()` blocks, `thing.method.aio()` is awaited.

The asynchronous function is the only implementation. The blocking face runs it on the portal's loop (`_portal.py`);
the `.aio` face runs it on the caller's loop if the object it works on has a connection there, else on the portal's
loop, too. Both faces have the parameters and the result of the function, for type checkers as well.

What a user's function returned or raised is never unpickled on the portal: a function whose result holds user values
returns an `Outcome`, which the face unwraps on the caller's side (`@answers` instead of `@faces`).
"""

import asyncio
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from anyio import CancelScope

from afield._portal import get_portal
from afield._trim import TRIMMED, explain_wrong_call
from afield.exception import AsyncUsageWarning

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)

_PACKAGE: Final = os.path.dirname(__file__) + os.sep


class Outcome(Protocol[R_co]):
    """What came of a user's code, not looked at yet."""

    def unwrap(self) -> R_co:
        """Return the value, or raise what the user's code raised."""
        ...


class Placed(Protocol):
    """An object that may have a connection on the running loop."""

    def _is_here(self) -> bool: ...


def warn_if_in_loop(call: str, instead: str) -> None:
    """Warn the caller, outside of this package, that it blocks the event loop that it runs in."""
    if asyncio._get_running_loop() is not None:
        warnings.warn(
            f"{call} blocks the event loop that it was called in: use `{instead}`",
            AsyncUsageWarning,
            stacklevel=_depth(),
        )


def _depth() -> int:
    """Return the `stacklevel`, for our caller, of the nearest frame outside of this package."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, depth = frame.f_back, depth + 1
    return depth


class Face(Generic[P, R]):
    """A method or function with a blocking form, the call itself, and an asynchronous one, `aio`."""

    __slots__ = ("__wrapped__", "_here", "_name")

    def __init__(
        self, function: Callable[P, Coroutine[Any, Any, R]], name: str, here: Callable[[], bool]
    ) -> None:
        self.__wrapped__ = function
        self._name = name
        self._here = here

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Block until done."""
        warn_if_in_loop(f"{self._name}()", f"await {self._name}.aio()")
        with TRIMMED:
            try:
                return get_portal().run(partial(self.__wrapped__, *args, **kwargs))
            except TypeError as error:
                explain_wrong_call(error, self._name, self.__wrapped__, args, kwargs)
                raise

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await it."""
        with TRIMMED:
            try:
                if self._here():
                    return await self.__wrapped__(*args, **kwargs)
                return await get_portal().bridge(partial(self.__wrapped__, *args, **kwargs))
            except TypeError as error:
                explain_wrong_call(error, self._name, self.__wrapped__, args, kwargs)
                raise

    def __repr__(self) -> str:
        return f"<{self._name}, asynchronously {self._name}.aio>"


class AnswerFace(Generic[P, R]):
    """As `Face`, for a function that returns an Outcome: the outcome is unwrapped on the caller's side."""

    __slots__ = ("_face",)

    def __init__(
        self, function: Callable[P, Coroutine[Any, Any, Outcome[R]]], name: str, here: Callable[[], bool]
    ) -> None:
        self._face = Face(function, name, here)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Block until done."""
        with TRIMMED:
            return self._face(*args, **kwargs).unwrap()

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await it."""
        with TRIMMED:
            return (await self._face.aio(*args, **kwargs)).unwrap()

    def __repr__(self) -> str:
        return repr(self._face)


class _Decorated:
    """An asynchronous method as a pair of faces. Its object must be `Placed`."""

    _face: ClassVar[type[Face[Any, Any]] | type[AnswerFace[Any, Any]]]

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = function.__name__.lstrip("_")
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"{owner.__name__}.{name}"

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return self._face(partial(self._function, instance), self._name, instance._is_here)


class faces(_Decorated, Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Make an asynchronous method a pair of faces. Its object must be `Placed`."""

    _face = Face

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None: ...
        @overload
        def __get__(self, instance: None, owner: type) -> "faces[S, P, R]": ...
        @overload
        def __get__(self, instance: S, owner: type) -> Face[P, R]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


class answers(_Decorated, Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """As `faces`, for a method that returns an Outcome."""

    _face = AnswerFace

    if TYPE_CHECKING:

        def __init__(
            self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, Outcome[R]]]
        ) -> None: ...
        @overload
        def __get__(self, instance: None, owner: type) -> "answers[S, P, R]": ...
        @overload
        def __get__(self, instance: S, owner: type) -> AnswerFace[P, R]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


# -- streams of values --------------------------------------------------------------------------------


class Batches(Protocol[T_co]):
    """Values that come in batches, on the loop where they were opened."""

    async def next_batch(self) -> Sequence[T_co] | None:
        """Return the next values, at least one; None at the end."""
        ...

    async def aclose(self) -> None:
        """Stop; harmless after the end."""
        ...


def iterate(opener: Callable[[], Awaitable[Batches[T]]]) -> Generator[T, None, None]:
    """Yield values one by one; whole batches cross from the portal's loop."""
    portal = get_portal()
    source = portal.run(opener)
    try:
        while (batch := portal.run(source.next_batch)) is not None:
            yield from batch
    finally:
        if not portal.closed:  # at the end of the process: what ran on it has ended with it
            portal.run(source.aclose)


async def aiterate(opener: Callable[[], Awaitable[Batches[T]]], *, here: bool) -> AsyncGenerator[T, None]:
    """Yield values one by one, from this loop (`here`) or from the portal's."""
    if here:
        source = await opener()
        step, close = source.next_batch, source.aclose
    else:
        portal = get_portal()
        source = await portal.bridge(opener)
        step, close = partial(portal.bridge, source.next_batch), partial(portal.bridge, source.aclose)
    try:
        while (batch := await step()) is not None:
            for value in batch:
                yield value
    finally:
        with CancelScope(shield=True):
            await close()
