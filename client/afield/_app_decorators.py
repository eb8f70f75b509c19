"""The types of what `app.function(...)`, `app.cls(...)` and `app.local_entrypoint(...)` return."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from afield.function import Function
from afield.local_entrypoint import LocalEntrypoint
from afield.partial_function import PartialFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - see afield.function


class FunctionDecorator(Protocol):
    """What `app.function(...)` returns."""

    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> Function[P, R, O]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Function[P, R, R]: ...


class ClassDecorator(Protocol):
    """What `app.cls(...)` returns. What stands at the name of the class is a Cls; to checkers it is the class still."""

    @overload
    def __call__(self, cls: type[T], /) -> type[T]: ...
    @overload
    def __call__(self, cls: PartialFunction[..., Any, Any], /) -> Any: ...


class EntrypointDecorator(Protocol):
    """What `app.local_entrypoint()` returns."""

    def __call__(self, function: Callable[P, R], /) -> LocalEntrypoint[P, R]: ...
