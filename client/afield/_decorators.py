"""The decorators on functions, methods and classes: `enter`, `exit`, `method`, `concurrent`, `batched`."""

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from afield import _checked
from afield._trim import trimmed
from afield.exception import InvalidError
from afield.partial_function import PartialFunction

if TYPE_CHECKING:
    from afield.function import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - see afield.function
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class MethodDecorator(Protocol):
    """What `afield.method()` returns."""

    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> PartialFunction[P, R, R]: ...


class HookDecorator(Protocol):
    """What `afield.enter()` and `afield.exit()` return."""

    def __call__(self, function: F, /) -> F: ...


class ConcurrentDecorator(Protocol):
    """What `afield.concurrent(...)` returns: for functions and classes, above or below what an app says of them."""

    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(self, function: "Function[P, R, O]", /) -> "Function[P, R, O]": ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a class can be called; it comes first
        self, cls: type[T], /
    ) -> type[T]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> PartialFunction[P, R, R]: ...


class BatchedDecorator(Protocol):
    """What `afield.batched(...)` returns.

    The function has lists where its callers have single values, so its parameters say nothing about theirs.
    """

    @overload
    def __call__(self, function: "Function[P, R, O]", /) -> "Function[P, R, O]": ...
    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, function: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, function: Callable[..., list[R]], /) -> PartialFunction[..., R, list[R]]: ...


@trimmed
def method(*unexpected: Any, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of a class one that can be called from elsewhere: `Model().run.remote(...)`.

    `is_generator`: for a method that returns a generator without being one.
    """
    _parentheses("method", unexpected)
    _checked.flags({"is_generator": is_generator})

    @trimmed
    def decorate(function: Any) -> Any:
        return _partial("method", function).stack(is_method=True, is_generator=is_generator)

    return cast("MethodDecorator", decorate)


@trimmed
def enter(*unexpected: Any, snap: bool = False) -> HookDecorator:
    """Make a method run once in each container, before its first input.

    `snap=True`: with `enable_memory_snapshot=True`, once for many containers, which begin as copies of what it left.
    """
    _parentheses("enter", unexpected)
    _checked.flag("snap", snap)

    @trimmed
    def decorate(function: Any) -> Any:
        return _hook("enter", function).stack(enter="snap" if snap else "always")

    return cast("HookDecorator", decorate)


@trimmed
def exit(*unexpected: Any) -> HookDecorator:  # noqa: A001 - its name in programs is afield.exit
    """Make a method run once in each container, after its last input; it has 30 s."""
    _parentheses("exit", unexpected)

    @trimmed
    def decorate(function: Any) -> Any:
        return _hook("exit", function).stack(exit=True)

    return cast("HookDecorator", decorate)


@trimmed
def concurrent(
    *unexpected: Any, max_inputs: int | None = None, target_inputs: int | None = None
) -> ConcurrentDecorator:
    """Let each container of a function or class run several inputs at once: in threads, or as tasks if it is async.

    `max_inputs`: at most so many. `target_inputs`: what the number of containers is chosen for, `max_inputs` unless given.
    Raises InvalidError for numbers that are not 1 to 1,000, and for a target above the most.
    """
    _parentheses("concurrent", unexpected)
    wanted = _checked.concurrency(max_inputs, target_inputs)

    @trimmed
    def decorate(thing: Any) -> Any:
        if _is_declared(thing):
            return thing._amend(concurrency=wanted)
        return _partial("concurrent", thing, classes=True).stack(concurrency=wanted)

    return cast("ConcurrentDecorator", decorate)


@trimmed
def batched(*unexpected: Any, max_batch_size: int, wait_ms: int) -> BatchedDecorator:
    """Hand inputs to a function or method together: it gets lists, and returns a list of the same length.

    `max_batch_size`: 1 to 1,000 inputs. `wait_ms`: 0 to 600,000 milliseconds that the first one waits for others.
    Callers give and get single values. Raises InvalidError for other numbers.
    """
    _parentheses("batched", unexpected)
    wanted = _checked.batching(max_batch_size, wait_ms)

    @trimmed
    def decorate(thing: Any) -> Any:
        if _is_declared(thing):
            return thing._amend(batching=wanted)
        return _partial("batched", thing).stack(batching=wanted)

    return cast("BatchedDecorator", decorate)


def _parentheses(name: str, unexpected: tuple[Any, ...]) -> None:
    if not unexpected:
        return
    if callable(unexpected[0]) or isinstance(unexpected[0], PartialFunction):
        raise InvalidError(f"`@afield.{name}` takes parentheses: write `@afield.{name}(...)`")
    raise InvalidError(f"@afield.{name}() takes its parameters by name only, got {unexpected[0]!r}")


def _is_declared(thing: Any) -> bool:
    from afield.cls import Cls
    from afield.function import Function

    return isinstance(thing, (Function, Cls))


def _partial(name: str, thing: Any, *, classes: bool = False) -> PartialFunction[..., Any, Any]:
    """Return what was decorated as a PartialFunction; raise InvalidError for what `@afield.<name>` is not for."""
    if isinstance(thing, PartialFunction):
        if thing.is_hook:
            raise InvalidError(
                f"@afield.{name}() is for what is called; {thing.name_here} is an enter or exit hook"
            )
        return thing
    if _is_declared(thing):
        raise InvalidError(f"@afield.{name}() decorates a method in the body of a class, not {thing!r}")
    if inspect.isclass(thing) and not classes:
        raise InvalidError(f"@afield.{name}() decorates a function or method; {thing.__name__} is a class")
    if isinstance(thing, (staticmethod, classmethod, property)):
        raise InvalidError(
            f"@afield.{name}() decorates a method that takes `self`, not a {type(thing).__name__}"
        )
    if not callable(thing):
        raise InvalidError(f"@afield.{name}() decorates a function, not {thing!r}")
    return PartialFunction(thing)


def _hook(name: str, thing: Any) -> PartialFunction[..., Any, Any]:
    if isinstance(thing, PartialFunction):
        if not thing.is_hook:
            raise InvalidError(
                f"@afield.{name}() makes a hook of {thing.name_here}, which is to be called, too: make it two methods"
            )
        return thing
    partial = _partial(name, thing)
    if inspect.isgeneratorfunction(thing) or inspect.isasyncgenfunction(thing):
        raise InvalidError(f"@afield.{name}() decorates a plain method; {thing.__qualname__} is a generator")
    required = _required_besides_self(thing)
    if required:
        raise InvalidError(
            f"{partial.name_here} is a hook, so it is called with `self` alone; it takes {required}"
        )
    return partial


def _required_besides_self(function: Callable[..., Any]) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    names = [
        each.name
        for each in parameters[1:]
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return ", ".join(names) if parameters else "not even that"
