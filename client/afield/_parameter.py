"""Parameter: what `afield.parameter()` puts into a class."""

from typing import Any, Final

from afield._trim import trimmed

KINDS: Final[dict[type, str]] = {str: "str", int: "int", bool: "bool", bytes: "bytes"}
"""Types that a parameter may have, and their names on the wire."""


class NoDefault:
    """The type of NO_DEFAULT."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT: Final = NoDefault()
"""Says that a parameter must be given."""


class Parameter:
    """An attribute of a class's instances that is given when the class is made, or else has its default."""

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init
        """Whether it can be given; else it is an attribute like others, with a type and perhaps a default."""
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the default: reached only while the instance has no value of its own."""
        if instance is None:
            return self
        if self.default is NO_DEFAULT:
            raise AttributeError(f"{owner.__name__}.{self.name} has no default, and was given no value")
        return self.default


@trimmed
def parameter(*, default: Any = NO_DEFAULT, init: bool = True) -> Any:
    """Declare a parameter of a class: `name: str = afield.parameter()` in its body, then `Model(name="x")`.

    The annotation is str, int, bool or bytes. Each set of values has containers of its own. `default`: without one the
    parameter must be given. `init=False`: it cannot be given, it is only an attribute with that default.
    """
    return Parameter(default, init)
