"""Messages to bytes and back: a dataclass is a msgpack array of its fields.

`@message("tag")` makes a class a message. On the wire it is `[tag, field, field, …]`, in the order of
declaration. A newer peer may append fields that have defaults: a shorter array than ours is completed with the
defaults, a longer one is cut. So releases can be mixed during an upgrade, and the hot path pays for no names.

Field types: str, bytes, bool, int, float, None, other messages, `tuple[X, ...]`, `dict[str, X]`, unions of
these (at most one message class in a union), and `Any` (as msgpack gives it: arrays are tuples).
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar, dataclass_transform

import msgpack

from afield._wire.decoders import Miss, decoders, write_decoder

T = TypeVar("T")
M = TypeVar("M")
Converter = Callable[[Any], Any]


class WireError(ValueError):
    """Raised when bytes from the bus are not the message that was expected."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def message(tag: str) -> Callable[[type[T]], type[T]]:
    """Make a class a keyword-only message with the given tag.

    It is frozen for the type checker only: a class that is frozen as it runs takes twice as long to make an object of, and
    each call makes ten of them.
    """

    def decorate(cls: type[T]) -> type[T]:
        # Every process that starts makes 70 of these classes. What dataclasses writes and compiles for each of them takes
        # twice as long with the three methods that can as well be the same for all.
        made = dataclasses.dataclass(kw_only=True, slots=True, repr=False, eq=False)(cls)
        for name in ("__repr__", "__eq__", "__hash__"):
            setattr(made, name, vars(_Shared)[name])
        names = tuple(f.name for f in dataclasses.fields(made))  # type: ignore[arg-type]
        made.__wire_values__ = _reader(tag, names)  # type: ignore[attr-defined]
        made.__wire_tag__ = tag  # type: ignore[attr-defined]
        return made

    return decorate


class _Shared:
    """The methods that are the same for all messages."""

    def __repr__(self) -> str:
        fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __eq__(self, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__wire_values__() == other.__wire_values__()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.__wire_values__())  # type: ignore[attr-defined]


def _reader(tag: str, names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: (tag,)
    read = attrgetter(*names)
    if len(names) == 1:
        return lambda self: (tag, read(self))
    return lambda self: (tag, *read(self))


def _default(value: Any) -> Any:
    values = getattr(value, "__wire_values__", None)
    if values is None:
        raise TypeError(f"cannot put a {type(value).__name__} on the wire")
    return values()


def encode(msg: Any) -> bytes:
    """Return the bytes of a message (or of any msgpack value that holds messages)."""
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(default=_default, use_bin_type=True)
    data: bytes = packer.pack(msg)
    if len(data) <= _KEPT_BYTES:
        _idle.append(packer)
    return data


_idle: Final[list[msgpack.Packer]] = []
"""Packers that nobody uses: to make one takes as long as to pack a message. A thread has one for itself while it packs, for
that calls `_default`, and with it comes whatever may run between two steps of Python."""

_KEPT_BYTES: Final = 16 * 1024
"""Largest message after which its packer, which keeps memory for the like, is used again."""


def unpack(data: bytes | memoryview) -> Any:
    """Return the bare msgpack value in `data`, with arrays as tuples.

    Raises WireError when `data` is not one whole msgpack value.
    """
    try:
        return msgpack.unpackb(data, use_list=False, raw=False, strict_map_key=False)
    except Exception as error:  # msgpack raises five unrelated classes for bad bytes
        raise WireError(f"expected one msgpack value, got {len(data)} bytes that are not: {error}") from error


def decode(cls: type[M], data: bytes | memoryview) -> M:
    """Return the message of class `cls` that `data` holds.

    Raises WireError, naming the class, the field and what came, when it holds something else.
    """
    return build(cls, unpack(data))


def build(cls: type[M], values: Any) -> M:
    """Return the message of class `cls` from its unpacked array `[tag, field, …]`."""
    fast = decoders.get(cls) or _decoder(cls)
    try:
        return fast(values)  # type: ignore[no-any-return]
    except (Miss, WireError):
        return _build_slowly(cls, values)


def _decoder(cls: type[Any]) -> Converter:
    _plan(cls)  # raises TypeError for a class that cannot be a message
    return write_decoder(cls, _converter)


def _build_slowly(cls: type[M], values: Any) -> M:
    """The same field by field: completes what an older peer sent, and says exactly what is wrong."""
    plan = _plan(cls)
    if not isinstance(values, tuple) or not values or values[0] != plan.tag:
        got = values[0] if isinstance(values, tuple) and values else type(values).__name__
        raise WireError(f"expected a {cls.__name__} message ({plan.tag!r}), got {got!r}")
    given = len(values) - 1
    if given < plan.required:
        raise WireError(f"expected at least {plan.required} fields in a {cls.__name__} message, got {given}")
    kwargs: dict[str, Any] = {}
    for (name, convert), value in zip(plan.fields, values[1:], strict=False):
        try:
            kwargs[name] = convert(value)
        except WireError as error:
            raise WireError(f"in {cls.__name__}.{name}: {error}") from None
    return cls(**kwargs)


def decode_any(classes: Mapping[str, type[Any]], data: bytes | memoryview) -> Any:
    """Return the message that `data` holds, one of `classes` (tag to class)."""
    values = unpack(data)
    cls = classes.get(values[0]) if isinstance(values, tuple) and values else None
    if cls is None:
        got = values[0] if isinstance(values, tuple) and values else type(values).__name__
        raise WireError(f"expected one of {', '.join(sorted(classes))}, got {got!r}")
    return build(cls, values)


class _Plan:
    """How to build one message class: its tag, the fields with their converters, how many must be there."""

    __slots__ = ("fields", "required", "tag")

    def __init__(self, cls: type[Any]) -> None:
        hints = typing.get_type_hints(cls)
        self.tag: str = cls.__wire_tag__
        self.fields = tuple((f.name, _converter(hints[f.name])) for f in dataclasses.fields(cls))
        optional = [
            f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
            for f in dataclasses.fields(cls)
        ]
        # Fields are positional on the wire, so everything behind the first default must have one too.
        self.required = optional.index(True) if True in optional else len(optional)
        if not all(optional[self.required :]):
            raise TypeError(f"{cls.__name__}: a field without a default stands behind one with a default")


_plans: dict[type[Any], _Plan] = {}


def _plan(cls: type[Any]) -> _Plan:
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _Plan(cls)
    return plan


def _converter(hint: Any) -> Converter:
    if hint is Any:
        return lambda value: value
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return _literal(typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint))
    if origin is tuple:
        item = _converter(typing.get_args(hint)[0])
        return lambda value: tuple(map(item, _expect(value, (tuple, list), "an array")))
    if origin is dict:
        of = _converter(typing.get_args(hint)[1])
        return lambda value: {key: of(each) for key, each in _expect(value, (dict,), "a map").items()}
    if hasattr(hint, "__wire_tag__"):
        return lambda value: _build_slowly(hint, value)
    if hint is float:
        return lambda value: _expect(value, (float, int), "float")
    if hint in (str, bytes, bool, int, type(None)):
        return lambda value: _expect(value, (hint,), hint.__name__)
    raise TypeError(f"a message field cannot have the type {hint!r}")


def _literal(allowed: tuple[Any, ...]) -> Converter:
    def convert(value: Any) -> Any:
        if value not in allowed:
            raise WireError(f"expected one of {allowed}, got {value!r}")
        return value

    return convert


def _union(members: tuple[Any, ...]) -> Converter:
    """A union is decided by the shape of the value: scalars by their class, an array by the structured member."""
    scalars: tuple[type, ...] = tuple(m for m in members if m in (str, bytes, bool, int, float, type(None)))
    structured = [_converter(m) for m in members if m not in scalars]
    if float in scalars:
        scalars = (*scalars, int)  # msgpack writes 1.0 as a float, but a peer may send the integer
    if len(structured) > 1:
        raise TypeError(f"a message field can have one structured type in a union, not {members!r}")

    def convert(value: Any) -> Any:
        if isinstance(value, scalars):
            return value
        if structured:
            return structured[0](value)
        names = " or ".join(m.__name__ for m in scalars)
        raise WireError(f"expected {names}, got {type(value).__name__}")

    return convert


def _expect(value: Any, classes: tuple[type, ...], name: str) -> Any:
    if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
        raise WireError(f"expected {name}, got {type(value).__name__}")
    return value
