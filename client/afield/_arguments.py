"""Constructor arguments of classes: what a class takes, checked, and as bytes that are equal for equal arguments.

A class with parameters (`afield.parameter()`) takes them by name. One with an `__init__` of its own takes what that
takes; its ParameterSpecs are the signature, in order, with `/`, `*`, `*args` and `**kwargs` as Python writes them.
"""

import inspect
import io
import pickle
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from afield._class_hooks import Hooks
from afield._parameter import KINDS, NO_DEFAULT, Parameter
from afield._suggest import did_you_mean
from afield._wire.functions import ParameterSpec
from afield.exception import InvalidError, SerializationError
from afield.serialization import dumps_call, loads

MOST_BYTES: Final = 64 * 1024
"""Bytes that the arguments of a constructor may take: every container and every listing carries them."""

_TYPES: Final = {name: kind for kind, name in KINDS.items()}
_PLAIN: Final[dict[str, Callable[[Any], Any]]] = {
    "str": str.__str__,
    "int": int.__int__,
    "bytes": lambda value: bytes(memoryview(value)),
}
"""Makes a value of a subclass, such as a member of an enum, one of the type itself."""
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_NESTING: Final = 16


# -- what a class takes -------------------------------------------------------------------------------


def parameter_specs(user_cls: type, hooks: Hooks) -> tuple[ParameterSpec, ...]:
    """Return what a class takes. Raises InvalidError for parameters without a type or with a wrong default."""
    own = _constructor(user_cls) is not object.__init__
    if hooks.parameters and own:
        raise InvalidError(
            f"{user_cls.__name__} has both parameters ({', '.join(hooks.parameters)}) and an __init__: "
            f"leave one of the two away; what __init__ does can be done in a method with @afield.enter()"
        )
    if own:
        return _signature_specs(user_cls)
    hints = _hints(user_cls)
    return tuple(_spec(user_cls, name, each, hints) for name, each in hooks.parameters.items())


def _constructor(user_cls: type) -> Any:
    return getattr(user_cls, "__init__")  # noqa: B009 - mypy thinks of subclasses when it sees it written out


def _hints(user_cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(user_cls)
    except (
        NameError,
        TypeError,
        AttributeError,
    ):  # some annotation is for type checkers only; the others will do
        return {name: hint for each in reversed(user_cls.__mro__) for name, hint in _own_hints(each)}


def _own_hints(user_cls: type) -> list[tuple[str, Any]]:
    return list(vars(user_cls).get("__annotations__", {}).items())


def _spec(user_cls: type, name: str, parameter: Parameter, hints: Mapping[str, Any]) -> ParameterSpec:
    where = f"{user_cls.__name__}.{name}"
    hint = hints.get(name)
    kind = hint if isinstance(hint, str) else KINDS.get(hint) if isinstance(hint, type) else None
    if kind not in _TYPES:
        got = "none" if hint is None else getattr(hint, "__qualname__", repr(hint))
        raise InvalidError(
            f"{where} is a parameter, so its annotation must be one of {', '.join(_TYPES)}; it is {got}"
        )
    if parameter.default is NO_DEFAULT:
        return ParameterSpec(name=name, kind=kind)
    value = _checked(f"the default of {where}", kind, parameter.default)
    return ParameterSpec(name=name, kind=kind, required=False, default=_pickled(value))


def _signature_specs(user_cls: type) -> tuple[ParameterSpec, ...]:
    specs: list[ParameterSpec] = []
    try:
        signature = inspect.signature(_constructor(user_cls))
    except ValueError:  # inherited from a class of a C extension
        return tuple(ParameterSpec(name=name, kind="", required=False) for name in ("*args", "**kwargs"))
    parameters = list(signature.parameters.values())[1:]
    positional_only = [each for each in parameters if each.kind is each.POSITIONAL_ONLY]
    for number, each in enumerate(parameters):
        if positional_only and number == len(positional_only):
            specs.append(ParameterSpec(name="/", kind="", required=False))
        starred = any(spec.name.startswith("*") for spec in specs)
        if each.kind is each.KEYWORD_ONLY and not starred:
            specs.append(ParameterSpec(name="*", kind="", required=False))
        stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        required = each.default is each.empty and not stars
        specs.append(ParameterSpec(name=f"{stars}{each.name}", kind="", required=required))
    if positional_only and len(positional_only) == len(parameters):
        specs.append(ParameterSpec(name="/", kind="", required=False))
    return tuple(specs)


# -- what it is given -----------------------------------------------------------------------------------


def encode_arguments(
    name: str, specs: Sequence[ParameterSpec], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes:
    """Return the arguments of class `name` as bytes, empty if they are those that it has anyway.

    Equal arguments give equal bytes, given by position or by name, defaults spelt out or not; for values that are not
    of builtin types, as far as their pickles are equal. Raises InvalidError for arguments that the class does not take.
    """
    if all(spec.kind for spec in specs) and specs:
        return _encode_parameters(name, specs, args, kwargs)
    bound = _bind(name, specs, args, kwargs)
    args, kwargs = bound.args, dict(sorted(bound.kwargs.items()))
    if not args and not kwargs:
        return b""
    return _sized(name, freeze(name, args, kwargs))


def _encode_parameters(
    name: str, specs: Sequence[ParameterSpec], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes:
    known = {spec.name: spec for spec in specs}
    if args:
        raise InvalidError(
            f"{name} takes its parameters by name, as in {name}({specs[0].name}=...); got {len(args)} by position"
        )
    for each in kwargs:
        if each not in known:
            raise InvalidError(
                f"{name} has no parameter {each!r}{did_you_mean(each, known)}; it has {', '.join(known)}"
            )
    missing = [spec.name for spec in specs if spec.required and spec.name not in kwargs]
    if missing:
        raise InvalidError(f"{name} needs {_listed(missing)}: write {name}({missing[0]}=...)")
    values = {
        each: _checked(f"{name}({each}=...)", known[each].kind, value) for each, value in kwargs.items()
    }
    defaults = {spec.name: loads(spec.default) for spec in specs if not spec.required}
    if all(each in defaults and _same(value, defaults[each]) for each, value in values.items()):
        return b""
    return _sized(name, _pickled(((), dict(sorted({**defaults, **values}.items())))))


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _checked(where: str, kind: str, value: Any) -> Any:
    """Return a parameter's value as exactly its type; raise InvalidError for another type."""
    wanted = _TYPES[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise InvalidError(f"expected {where} to be {kind}, got {value!r} ({type(value).__name__})")
    return value if type(value) is wanted else _PLAIN[kind](value)


def _bind(
    name: str, specs: Sequence[ParameterSpec], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    """Sort arguments as Python would, without their defaults."""
    try:
        return _signature(specs).bind(*args, **kwargs)
    except TypeError as error:
        taken = ", ".join(
            spec.name if spec.required or spec.name[0] in "*/" else f"{spec.name}=..." for spec in specs
        )
        raise InvalidError(f"{name}({taken}) was given wrong arguments: {error}") from None


def _signature(specs: Sequence[ParameterSpec]) -> inspect.Signature:
    """Return the signature that specs were made from; what is not required has some default."""
    kinds = inspect.Parameter
    kind: Any = kinds.POSITIONAL_OR_KEYWORD
    if any(spec.name == "/" for spec in specs):
        kind = kinds.POSITIONAL_ONLY
    parameters = []
    for spec in specs:
        if spec.name == "/":
            kind = kinds.POSITIONAL_OR_KEYWORD
        elif spec.name == "*":
            kind = kinds.KEYWORD_ONLY
        elif spec.name.startswith("**"):
            parameters.append(kinds(spec.name[2:], kinds.VAR_KEYWORD))
        elif spec.name.startswith("*"):
            parameters.append(kinds(spec.name[1:], kinds.VAR_POSITIONAL))
            kind = kinds.KEYWORD_ONLY
        else:
            parameters.append(kinds(spec.name, kind, default=kinds.empty if spec.required else None))
    return inspect.Signature(parameters)


# -- as bytes -------------------------------------------------------------------------------------------


def freeze(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Return arguments as they were given as bytes, equal for equal ones of builtin types. Raises InvalidError."""
    if _is_builtin((args, kwargs), _NESTING):
        return _pickled((args, kwargs))
    try:
        return dumps_call(args, kwargs).join()
    except SerializationError as error:
        raise InvalidError(f"an argument of {name}() cannot be sent to containers: {error}") from error


def _is_builtin(value: Any, levels: int) -> bool:
    """Tell whether a value is of exactly builtin types, all through."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind in (tuple, list):
        return levels > 0 and all(_is_builtin(each, levels - 1) for each in value)
    if kind is dict:
        return levels > 0 and all(_is_builtin(each, levels - 1) for pair in value.items() for each in pair)
    return False


def _pickled(value: Any) -> bytes:
    """Pickle a builtin value; whether equal parts of it are one object or several makes no difference."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=5)
    pickler.fast = True  # no memo: a memo would write a repeated object in another way than its equal
    pickler.dump(value)
    return buffer.getvalue()


def _sized(name: str, data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise InvalidError(
            f"the arguments of {name}() are {len(data):,} bytes, at most {MOST_BYTES:,} can be sent: "
            f"pass large values to a method"
        )
    return data


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
