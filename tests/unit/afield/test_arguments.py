"""Constructor arguments: what fits, and equal bytes for equal arguments."""

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import afield
from afield._arguments import MOST_BYTES, encode_arguments, parameter_specs
from afield._class_hooks import find_hooks
from afield._wire.functions import ParameterSpec
from afield.exception import InvalidError
from afield.serialization import loads, loads_call


class Model:
    name: str = afield.parameter()
    size: int = afield.parameter(default=1)
    fast: bool = afield.parameter(default=False)
    key: bytes = afield.parameter(default=b"k")


class Defaults:
    size: int = afield.parameter(default=1)
    text: "str" = afield.parameter(default="size")


class Own:
    def __init__(self, a: Any, b: Any = 2, /, c: Any = 3, *rest: Any, d: Any = 4, **more: Any) -> None: ...


class Plain:
    def __init__(self, a: Any, *, b: Any = 2) -> None: ...


class Bare: ...


def specs(user_cls: type) -> tuple[ParameterSpec, ...]:
    """What a class takes."""
    return parameter_specs(user_cls, find_hooks(user_cls))


def encoded(user_cls: type, *args: Any, **kwargs: Any) -> bytes:
    """The arguments of a class as bytes."""
    return encode_arguments(user_cls.__name__, specs(user_cls), args, kwargs)


def test_parameters_are_known_by_type_and_default() -> None:
    """Annotations in quotes count, too."""
    found = {spec.name: (spec.kind, spec.required) for spec in specs(Model)}

    assert found == {
        "name": ("str", True), "size": ("int", False), "fast": ("bool", False), "key": ("bytes", False),
    }  # fmt: skip
    assert loads(specs(Model)[1].default) == 1
    assert specs(Defaults)[1].kind == "str"


def test_defaults_are_filled_in() -> None:
    """So that who spells them out means the same containers."""
    assert loads_call(encoded(Model, name="x")) == ((), {"fast": False, "key": b"k", "name": "x", "size": 1})
    assert encoded(Model, name="x") == encoded(Model, size=1, fast=False, name="x")


def test_what_it_has_anyway_is_nothing() -> None:
    """The class itself is meant then."""
    assert encoded(Defaults) == encoded(Defaults, size=1, text="size") == b""
    assert encoded(Bare) == b""


@given(st.text(), st.integers(), st.booleans(), st.binary())
def test_equal_parameters_have_equal_bytes(name: str, size: int, fast: bool, key: bytes) -> None:
    """Whatever objects hold them, and in any order."""
    one = encoded(Model, name=name, size=size, fast=fast, key=key)
    again = "".join(list(name))

    assert encoded(Model, key=bytes(bytearray(key)), fast=fast, size=int(str(size)), name=again) == one
    assert loads_call(one)[1] == {"name": name, "size": size, "fast": fast, "key": key}


def test_a_value_that_is_the_same_object_as_a_name_makes_no_difference() -> None:
    """Pickles note what comes twice; these do not."""
    other = "-name"[1:]

    assert encoded(Model, name="name") == encoded(Model, name=other)


class Color(enum.StrEnum):
    RED = "red"


def test_values_of_subclasses_are_made_plain() -> None:
    """Containers need not know the enum, and its value means the same."""
    assert encoded(Model, name=Color.RED) == encoded(Model, name="red")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"needs name: write Model\(name"),
        (("x",), {}, "by name"),
        ((), {"nam": "x"}, "no parameter 'nam': did you mean 'name'"),
        ((), {"name": 3}, "to be str, got 3"),
        ((), {"name": "x", "size": True}, "to be int, got True"),
        ((), {"name": "x", "size": "1"}, "to be int, got '1'"),
        ((), {"name": "x", "fast": 1}, "to be bool, got 1"),
        ((), {"name": "x", "key": "k"}, "to be bytes, got 'k'"),
        ((), {"name": "x" * MOST_BYTES}, "at most 65,536"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(args: Any, kwargs: Any, message: str) -> None:
    """Each is named, with what was expected."""
    with pytest.raises(InvalidError, match=message):
        encoded(Model, *args, **kwargs)


def test_parameters_need_a_type() -> None:
    """Only some can be one."""

    class Untyped:
        x = afield.parameter()

    class Strange:
        x: float = afield.parameter()

    class WrongDefault:
        x: int = afield.parameter(default="1")

    for each, message in ((Untyped, "it is none"), (Strange, "it is float"), (WrongDefault, "default of")):
        with pytest.raises(InvalidError, match=message):
            specs(each)


def test_parameters_and_a_constructor_exclude_each_other() -> None:
    """It could not be told what to call."""

    class Both:
        x: int = afield.parameter()

        def __init__(self) -> None: ...

    with pytest.raises(InvalidError, match="both parameters"):
        specs(Both)


def test_a_signature_is_written_as_python_does() -> None:
    """So that who looked the class up sorts arguments as who has it."""
    assert [spec.name for spec in specs(Own)] == ["a", "b", "/", "c", "*rest", "d", "**more"]
    assert [spec.name for spec in specs(Plain)] == ["a", "*", "b"]
    assert [spec.required for spec in specs(Plain)] == [True, False, False]


def test_arguments_by_position_and_by_name_are_the_same() -> None:
    """As Python sorts them."""
    assert encoded(Plain, 1) == encoded(Plain, a=1)
    assert loads_call(encoded(Own, 1, 2, 3, 4, z=1, d=0)) == ((1, 2, 3, 4), {"d": 0, "z": 1})
    assert encoded(Own, 1, y=1, x=2) == encoded(Own, 1, x=2, y=1)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"c": 1}), ((1,), {"a": 1})])
def test_arguments_that_a_constructor_does_not_take_are_refused(args: Any, kwargs: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidError, match=r"Plain\(a, \*, b=\.\.\.\) was given wrong arguments"):
        encoded(Plain, *args, **kwargs)


def test_a_class_without_either_takes_nothing() -> None:
    """It says so."""
    with pytest.raises(InvalidError, match=r"Bare\(\) was given wrong arguments"):
        encoded(Bare, 1)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_values)
def test_constructor_arguments_come_back(value: Any) -> None:
    """Nested builtin values as they were; repeated objects or equal ones give the same bytes."""
    one = encoded(Plain, [value, value])
    copy = loads(encoded(Plain, value))[0][0]

    assert loads_call(one)[0] == ([value, value],)
    assert encoded(Plain, [value, copy]) == one


def test_arguments_of_other_types_travel_too() -> None:
    """As any argument."""
    assert loads_call(encoded(Plain, range(3)))[0] == (range(3),)
    with pytest.raises(InvalidError, match="cannot be sent"):
        encoded(Plain, (each for each in "ab"))
