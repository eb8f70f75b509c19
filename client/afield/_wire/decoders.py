"""Decoders of message classes, written for each class.

The plan in codec.py costs a call and a keyword argument a field, twenty times what msgpack needs for the same bytes. So
each class gets a function of its own, which only knows the good case: on anything else it raises Miss, and the plan
decides what is wrong, or completes what an older peer sent.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, Final

Converter = Callable[[Any], Any]


class Miss(Exception):  # noqa: N818 - not an error: the plan has the last word
    """A value is not plainly right."""


decoders: dict[type[Any], Converter] = {}
"""The decoders written so far."""

_being_written: dict[type[Any], Converter] = {}

_SCALARS: Final[tuple[type, ...]] = (str, bytes, bool, int, float, type(None))


def write_decoder(cls: type[Any], converter: Callable[[Any], Converter]) -> Converter:
    """Write, keep and return the decoder of a message class: its unpacked array to the message, or Miss.

    `converter` gives the plain function for a field type that has no fast way.
    """

    def late(values: Any) -> Any:  # for a message that holds messages of its own class
        return decoders[cls](values)

    _being_written[cls] = late
    try:
        decoder = decoders[cls] = _Source(cls, converter).compile()
    finally:
        _being_written.pop(cls, None)
    return decoder


class _Source:
    """Writes the decoder of one class. `env` holds what the code refers to by name."""

    def __init__(self, cls: type[Any], converter: Callable[[Any], Converter]) -> None:
        self.cls = cls
        self.converter = converter
        self.names = tuple(f.name for f in dataclasses.fields(cls))
        self.env: dict[str, Any] = {
            "Miss": Miss,
            "NoneType": type(None),
            "Message": cls,
            "new": cls.__new__,
        }

    def compile(self) -> Converter:
        hints = typing.get_type_hints(self.cls)
        width = len(self.names) + 1
        lines = [
            "def decode(values):",
            f" if values.__class__ is not tuple or len(values) < {width}: raise Miss",
            f" if len(values) > {width}: values = values[:{width}]",
            f" {', '.join(['tag', *(f'v{i}' for i in range(width - 1))])}, = values",
            f" if tag != {self.cls.__wire_tag__!r}: raise Miss",
        ]
        for i, name in enumerate(self.names):
            lines += [" " + line for line in self._convert(hints[name], f"v{i}")]
        lines.append(" made = new(Message)")
        lines += [f" made.{name} = v{i}" for i, name in enumerate(self.names)]
        lines.append(" return made")
        exec(compile("\n".join(lines), f"<decoder of {self.cls.__name__}>", "exec"), self.env)  # noqa: S102 - our own
        decoder: Converter = self.env["decode"]
        return decoder

    def _bind(self, value: Any) -> str:
        name = f"x{len(self.env)}"
        self.env[name] = value
        return name

    def _convert(self, hint: Any, var: str) -> list[str]:
        """Statements that check `var` and replace it by what the field shall hold."""
        if hint is Any:
            return []
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._union(args, var)
        if origin is tuple:
            return [
                f"if {var}.__class__ is not tuple: raise Miss",
                *self._items(args[0], var, "tuple([{}])", "", var),
            ]
        if origin is dict:
            items, pairs = f"{var}.values()", f"{var}.items()"
            return [
                f"if {var}.__class__ is not dict: raise Miss",
                *self._items(args[1], var, "{{{}}}", "k: ", items, pairs),
            ]
        if hint in _SCALARS:
            return [f"if {_differs(var, (hint,))}: raise Miss"]
        if origin is typing.Literal and all(isinstance(arg, str) for arg in args):
            return [
                f"if {var}.__class__ is not str or {var} not in {self._bind(frozenset(args))}: raise Miss"
            ]
        return [f"{var} = {self._function(hint)}({var})"]

    def _items(self, item: Any, var: str, display: str, key: str, values: str, pairs: str = "") -> list[str]:
        """Statements for the items of an array, or the values of a map."""
        if item is Any:
            return []
        if item in _SCALARS:
            return [f"for each in {values}:", f" if {_differs('each', (item,))}: raise Miss"]
        scalars = tuple(m for m in typing.get_args(item) if m in _SCALARS) if _is_union(item) else ()
        rest = [m for m in typing.get_args(item) if m not in _SCALARS] if _is_union(item) else [item]
        change = f"{self._function(rest[0])}(each)" if len(rest) == 1 else f"{self._function(item)}(each)"
        if scalars:
            change = f"{change} if {_differs('each', scalars)} else each"
        source = f"k, each in {pairs}" if pairs else f"each in {values}"
        return [f"{var} = {display.format(f'{key}{change} for {source}')}"]

    def _union(self, members: tuple[Any, ...], var: str) -> list[str]:
        scalars = tuple(m for m in members if m in _SCALARS)
        rest = [m for m in members if m not in _SCALARS]
        inner = [line for m in rest for line in self._convert(m, var)] or (
            ["pass"] if rest else ["raise Miss"]
        )
        return [f"if {_differs(var, scalars)}:", *(f" {line}" for line in inner)]

    def _function(self, hint: Any) -> str:
        """The name of a function that converts one value."""
        if not hasattr(hint, "__wire_tag__"):
            return self._bind(self.converter(hint))

        decoder = decoders.get(hint) or _being_written.get(hint) or write_decoder(hint, self.converter)
        return self._bind(decoder)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _differs(var: str, classes: tuple[Any, ...]) -> str:
    """An expression: the class of `var` is none of `classes` (an integer passes for a float)."""
    if float in classes and int not in classes:
        classes = (*classes, int)
    if not classes:
        return "True"
    return " and ".join(f"{var}.__class__ is not {c.__name__}" for c in classes)
