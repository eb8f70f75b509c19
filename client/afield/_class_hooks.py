"""What a user's class is made of: its hooks, methods and parameters, its bases' included; and how to make an instance.

Used on both sides: the client declares a class with it, a container runs it. Light: it imports nothing heavy.

The life of an instance in a container:

    hooks = find_hooks(user_cls)
    instance = construct(user_cls, args, kwargs)         # from `loads_call(record.params)`, or ((), {}) where empty
    afield.cls.adopt(instance, record)                   # so that `self.other_method.remote()` finds its containers
    for hook in hooks.enter_snap: hook(instance)         # awaited where `is_async(hook)`
    for hook in hooks.enter: hook(instance)
    hooks.methods[name].raw(instance, *args, **kwargs)   # an input
    for hook in hooks.exit: hook(instance)
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from afield._parameter import Parameter
from afield.partial_function import PartialFunction

Hook = Callable[[Any], Any]
"""A function that takes the instance alone. Coroutine functions are to be awaited."""


class Method(NamedTuple):
    """A method that can be called from elsewhere."""

    raw: Callable[..., Any]
    """The function as it was written; its first parameter is the instance."""
    is_generator: bool
    is_async: bool
    """Whether it is a coroutine function or an asynchronous generator."""


class Hooks(NamedTuple):
    """What afield's decorators say of a class. Hooks are in the order to run them in: those of bases come first."""

    enter_snap: tuple[Hook, ...]
    """`enter(snap=True)`: what a snapshot holds."""
    enter: tuple[Hook, ...]
    """`enter()`: what every container does for itself, after those above."""
    exit: tuple[Hook, ...]
    methods: dict[str, Method]
    parameters: dict[str, Parameter]
    """Those that can be given (not `init=False`)."""

    @property
    def is_async(self) -> bool:
        """Whether any method or hook is asynchronous: then the container needs an event loop."""
        return any(method.is_async for method in self.methods.values()) or any(
            is_async(hook) for hook in (*self.enter_snap, *self.enter, *self.exit)
        )


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling `function` gives something to await, or an asynchronous generator."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def is_generator(function: Callable[..., Any]) -> bool:
    """Tell whether calling `function` gives a generator, synchronous or not."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def members(user_cls: type) -> dict[str, Any]:
    """Return a class's attributes as they were written (no descriptor is asked), bases first, in order of definition.

    What a subclass defines anew keeps its place and is the subclass's.
    """
    found: dict[str, Any] = {}
    for each in reversed(user_cls.__mro__[:-1]):
        found.update(vars(each))
    # The nearest definition wins, which with several bases need not be the one that came last.
    return {name: _nearest(user_cls, name) for name in found}


def _nearest(user_cls: type, name: str) -> Any:
    return next(vars(each)[name] for each in user_cls.__mro__ if name in vars(each))


def find_hooks(user_cls: type) -> Hooks:
    """Return the hooks, methods and parameters of a class as it was written."""
    found = members(user_cls)
    partials = {name: each for name, each in found.items() if isinstance(each, PartialFunction)}
    return Hooks(
        enter_snap=tuple(each.raw_f for each in partials.values() if each.enter == "snap"),
        enter=tuple(each.raw_f for each in partials.values() if each.enter == "always"),
        exit=tuple(each.raw_f for each in partials.values() if each.exit),
        methods={name: method_of(each) for name, each in partials.items() if each.in_class},
        parameters={name: each for name, each in found.items() if isinstance(each, Parameter) and each.init},
    )


def method_of(partial: PartialFunction[..., Any, Any]) -> Method:
    """Return a method as its decorators say."""
    raw = partial.raw_f
    generator = is_generator(raw) if partial.is_generator is None else partial.is_generator
    return Method(raw, generator, is_async(raw))


def construct(user_cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return an instance: with its parameters set, or for a class without any made by its own `__init__`.

    Parameters that are not in `kwargs` have their defaults. Raises what `__init__` raises, TypeError for arguments that
    the class does not take.
    """
    parameters = find_hooks(user_cls).parameters
    if not parameters:
        return user_cls(*args, **kwargs)
    if args or not kwargs.keys() <= parameters.keys():
        raise TypeError(
            f"{user_cls.__name__} takes the parameters {', '.join(parameters)} by name, got "
            f"{[*map(repr, args), *kwargs]}"
        )
    instance = user_cls()
    for name, value in kwargs.items():
        object.__setattr__(instance, name, value)
    return instance
