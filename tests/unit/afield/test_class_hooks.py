"""What a user's class is made of, and how its instances are made."""

from typing import Any

import pytest

import afield
from afield._class_hooks import construct, find_hooks, is_async


class Base:
    size: int = afield.parameter(default=3)

    @afield.enter()
    def load(self) -> None:
        self.loaded = ["base"]

    @afield.enter(snap=True)
    def early(self) -> None: ...

    @afield.method()
    def run(self, x: int) -> int:
        return x * self.size

    @afield.method()
    def dropped(self) -> None: ...

    @afield.exit()
    def leave(self) -> None: ...

    def helper(self) -> str:
        return "help"


class Derived(Base):
    name: str = afield.parameter(default="n")
    hidden: int = afield.parameter(default=7, init=False)

    @afield.enter()
    async def load_more(self) -> None: ...

    @afield.method()
    def run(self, x: int) -> int:
        return super().run.local(x) + 1

    @afield.method(is_generator=True)
    def stream(self) -> Any:
        return iter([1])

    def dropped(self) -> None: ...  # type: ignore[override]  # not a method for callers any more


def names(functions: Any) -> list[str]:
    """What these functions are called."""
    return [function.__name__ for function in functions]


def test_hooks_of_bases_come_first() -> None:
    """In order of definition; snapshots hold those that say so."""
    hooks = find_hooks(Derived)

    assert names(hooks.enter_snap) == ["early"]
    assert names(hooks.enter) == ["load", "load_more"]
    assert names(hooks.exit) == ["leave"]


def test_methods_are_those_of_the_nearest_definition() -> None:
    """A method that a subclass defines without the decorator is none."""
    methods = find_hooks(Derived).methods

    assert list(methods) == ["run", "stream"]
    assert methods["run"].raw is vars(Derived)["run"].raw_f
    assert methods["stream"].is_generator
    assert not methods["run"].is_generator


def test_parameters_that_cannot_be_given_are_none() -> None:
    """`init=False` makes an attribute."""
    assert list(find_hooks(Derived).parameters) == ["size", "name"]
    assert Derived().hidden == 7


def test_one_asynchronous_part_makes_the_class_so() -> None:
    """Then its containers need an event loop."""
    assert find_hooks(Derived).is_async
    assert not find_hooks(Base).is_async
    assert is_async(find_hooks(Derived).enter[1])


def test_parameters_are_set_on_the_instance() -> None:
    """Those not given have their defaults."""
    made = construct(Derived, (), {"size": 5})

    assert (made.size, made.name) == (5, "n")
    assert (construct(Derived, (), {}).size, made.run.local(2)) == (3, 11)


def test_constructors_of_their_own_are_called() -> None:
    """With what was given."""

    class Own:
        def __init__(self, a: int, *, b: int = 2) -> None:
            self.sum = a + b

    assert construct(Own, (1,), {"b": 5}).sum == 6


def test_instances_of_frozen_classes_can_be_made() -> None:
    """A parameter is set past a `__setattr__` that refuses."""

    class Frozen:
        x: int = afield.parameter()

        def __setattr__(self, name: str, value: Any) -> None:
            raise AttributeError(name)

    assert construct(Frozen, (), {"x": 4}).x == 4


def test_arguments_that_are_no_parameters_are_refused() -> None:
    """A caller of another version may send them."""
    with pytest.raises(TypeError, match="size, name"):
        construct(Derived, (), {"sise": 1})
    with pytest.raises(TypeError, match="by name"):
        construct(Derived, (1,), {})


def test_a_parameter_without_value_says_so() -> None:
    """It is an AttributeError, as for any attribute that is not there."""

    class Needs:
        x: int = afield.parameter()

    with pytest.raises(AttributeError, match="x has no default"):
        _ = construct(Needs, (), {}).x


def test_hooks_are_plain_methods_of_instances() -> None:
    """A subclass may call its base's."""
    made = Derived()
    made.load()

    assert made.loaded == ["base"]
    assert made.helper() == "help"
