"""PartialFunction: a function or class with properties that `@app.function()` or `@app.cls()` has still to make use of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from afield._wire.functions import Batching, Concurrency

if TYPE_CHECKING:
    from afield.function import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - see afield.function


@dataclass(frozen=True)
class PartialFunction(Generic[P, R, O]):
    """A function, method or class, and what decorators on it said.

    In the body of a class it is a method or a hook: of an instance, a method is a Function with `.remote()` and
    `.local()`, a hook is a plain method.
    """

    raw_f: Callable[P, O]
    """What was decorated, as it was written."""
    is_method: bool = False
    """Whether `@afield.method()` was said of it."""
    is_generator: bool | None = None
    """Of a method: as declared; None if it is for its code to say."""
    enter: Literal["", "always", "snap"] = ""
    """Whether it runs at the start of a container, and when: `snap` is what a snapshot holds."""
    exit: bool = False
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    name: str = field(default="", compare=False)
    """In a class: the attribute that holds it."""

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.name:
            object.__setattr__(self, "name", name)

    @property
    def name_here(self) -> str:
        """What it is called, for messages."""
        return getattr(self.raw_f, "__qualname__", repr(self.raw_f)).rpartition("<locals>.")[2]

    def stack(self, **said: Any) -> "PartialFunction[P, R, O]":
        """Return the same function with more said of it; what is said later wins."""
        return replace(self, **said)

    @property
    def in_class(self) -> bool:
        """Whether it can be called from elsewhere, when the body of a class has it: batched functions always can."""
        return self.is_method or self.batching is not None

    @property
    def is_hook(self) -> bool:
        """Whether it runs at the start or the end of a container."""
        return bool(self.enter) or self.exit

    @overload
    def __get__(self, instance: None, owner: type) -> "PartialFunction[P, R, O]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> "Function[P, R, O]": ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        if not self.in_class:
            return self.raw_f.__get__(instance, owner)
        from afield.cls import method_of_instance

        return method_of_instance(self, instance)
