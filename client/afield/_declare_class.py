"""What `@app.cls(...)` says: a class checked, and made into a FunctionSpec with methods and parameters."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from afield import _checked, _rules
from afield._arguments import parameter_specs
from afield._class_hooks import Hooks, find_hooks, members
from afield._declare import make_spec, object_name, refuse_unavailable, travels_by_value
from afield._declared import Declared
from afield._wire.functions import Batching, Concurrency, MethodSpec
from afield.exception import InvalidError
from afield.partial_function import PartialFunction

RESERVED: Final = frozenset({"update_autoscaler"})
"""Names that an object has for its own, so that no method can have them."""


def declare_class(target: Any, parameters: Mapping[str, Any]) -> tuple[Declared, Hooks]:
    """Return what `@app.cls(**parameters)` says of a class, and what the class is made of.

    Raises InvalidError for a class or values that make no sense, UnimplementedError for what is not available yet.
    """
    partial = target if isinstance(target, PartialFunction) else PartialFunction(target)
    user_cls: Any = partial.raw_f
    if not inspect.isclass(user_cls):
        _refuse(user_cls)
    refuse_unavailable(parameters, "@app.cls")
    _checked.flags(parameters)
    name = object_name(user_cls, None)
    serialized = travels_by_value(user_cls, name, parameters)
    partials = _partials(user_cls)
    for attribute, each in partials.items():
        _check_member(name, attribute, each)
    hooks = find_hooks(user_cls)
    if not hooks.methods:
        raise InvalidError(f"{name} has no method that could be called: decorate one with @afield.method()")
    spec = make_spec(
        name,
        parameters,
        is_async=hooks.is_async,
        concurrency=partial.concurrency or Concurrency(),
        batching=_batching(partials),
        methods={
            each: MethodSpec(is_generator=method.is_generator, is_async=method.is_async)
            for each, method in hooks.methods.items()
        },
        parameters=parameter_specs(user_cls, hooks),
    )
    _rules.check(user_cls, spec)
    return Declared(user_cls, name, False, serialized, parameters["include_source"], spec), hooks


def _refuse(thing: Any) -> None:
    if callable(thing):
        shown = getattr(thing, "__name__", repr(thing))
        raise InvalidError(f"@app.cls() decorates a class; {shown} is a function: use @app.function()")
    raise InvalidError(f"@app.cls() decorates a class, not {thing!r}")


def _partials(user_cls: type) -> dict[str, PartialFunction[..., Any, Any]]:
    return {name: each for name, each in members(user_cls).items() if isinstance(each, PartialFunction)}


def _check_member(class_name: str, attribute: str, partial: PartialFunction[..., Any, Any]) -> None:
    where = f"{class_name}.{attribute}"
    if partial.concurrency is not None:
        raise InvalidError(
            f"{where} is decorated with @afield.concurrent(), which is for all methods of a class together: "
            f"decorate {class_name}"
        )
    if not partial.in_class:
        return
    if attribute.startswith("__"):
        raise InvalidError(
            f"{where} cannot be called from elsewhere: names with two underscores are Python's own"
        )
    if attribute in RESERVED:
        raise InvalidError(f"{where} cannot have this name, which objects need for themselves: rename it")
    parameters = list(inspect.signature(partial.raw_f).parameters.values())
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise InvalidError(f"{where} is a method, so its first parameter must be `self`; it has none")


def _batching(partials: Mapping[str, PartialFunction[..., Any, Any]]) -> Batching | None:
    """Return what a batched method says: it is the only one, which `_rules` checks."""
    return next((each.batching for each in partials.values() if each.batching is not None), None)
