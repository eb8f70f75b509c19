"""The type of `Function.remote_gen`: it follows from what the generator yields."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from afield._remote import RemoteGen

if TYPE_CHECKING:
    from afield.function import Function

P = ParamSpec("P")
Y = TypeVar("Y")


class RemoteGenFace:
    """Gives `Function.remote_gen` the type of what the generator yields."""

    @overload
    def __get__(self, instance: None, owner: type) -> "RemoteGenFace": ...
    @overload
    def __get__(
        self, instance: "Function[P, Generator[Y, Any, Any], Any]", owner: type
    ) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(
        self, instance: "Function[P, AsyncGenerator[Y, Any], Any]", owner: type
    ) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Iterator[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, AsyncIterator[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Iterable[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Any, Any]", owner: type) -> RemoteGen[P, Any]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else RemoteGen(instance)
