"""Methods on a command line: one list of options for the class and the method."""

import inspect
from typing import Any

import pytest

import afield
from afield import App
from afield.cli.errors import WrongUseError
from afield.cli.methods import MethodTarget
from afield.cli.params import Arguments, parse


class Model:
    size: int = afield.parameter(default=3)
    name: str = afield.parameter()

    @afield.method()
    def run(self, x: int, flag: bool = False) -> str:
        """Run it."""
        return f"{x} {flag}"

    @afield.method()
    def size_of(self, size: int) -> None: ...


class Own:
    def __init__(self, a: int, *rest: int, b: "str" = "x") -> None: ...

    @afield.method()
    def run(self, *args: str) -> None: ...

    @afield.method()
    def plain(self, y: int) -> None: ...


class Bare:
    @afield.method()
    def run(self, *args: str) -> None: ...


class Recorder:
    """Stands for a Cls, and says what it was called with."""

    def __init__(self, user_cls: type) -> None:
        made: Any = App().cls()(user_cls)
        self._user_cls, self._hooks, self._name = made._user_cls, made._hooks, made._name
        self.seen: list[Any] = []

    def __call__(self, **kwargs: Any) -> "Recorder":
        self.seen.append(kwargs)
        return self

    def __getattr__(self, name: str) -> "Recorder":
        return self

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        return [*self.seen, args, kwargs]

    spawn = remote


def target(user_cls: type, name: str) -> MethodTarget:
    """A method, as something to run."""
    cls: Any = Recorder(user_cls)
    return MethodTarget(cls, name)


def test_parameters_of_both_are_options() -> None:
    """With the types and defaults of each."""
    pooled = target(Model, "run").raw_f

    assert parse(pooled, ["--x", "1", "--name", "n", "--flag"], program="p") == Arguments(
        (), {"x": 1, "name": "n", "flag": True}
    )
    assert inspect.getdoc(pooled) == "Run it."
    assert pooled.__annotations__["return"] is str
    with pytest.raises(WrongUseError, match="name"):
        parse(pooled, ["--x", "1"], program="p")


def test_what_was_given_goes_where_it_belongs() -> None:
    """The class's to the class, the method's to the method."""
    for call in (target(Model, "run").remote, target(Model, "run").spawn):
        assert call(x=1, name="n") == [{"name": "n"}, (), {"x": 1}]


def test_constructors_of_their_own_give_options() -> None:
    """By name."""
    given = parse(target(Own, "plain").raw_f, ["--a", "1", "--b", "z", "--y", "2"], program="p")

    assert target(Own, "plain").remote(**given.kwargs) == [{"a": 1, "b": "z"}, (), {"y": 2}]


def test_raw_arguments_are_a_methods_too() -> None:
    """If its class takes nothing."""
    given = parse(target(Bare, "run").raw_f, ["1", "--x"], program="p")

    assert target(Bare, "run").remote(*given.args) == [{}, ("1", "--x"), {}]
    with pytest.raises(WrongUseError, match="only as"):
        parse(target(Own, "run").raw_f, ["1"], program="p")


def test_one_name_for_two_parameters_is_refused() -> None:
    """They could not be told apart."""
    with pytest.raises(WrongUseError, match="both have a parameter size"):
        _ = target(Model, "size_of").raw_f
