"""Options from parameters."""

import datetime as dt
import inspect
from collections.abc import Callable
from typing import Any, Literal, Optional

import pytest

from afield.cli.errors import WrongUseError
from afield.cli.params import Arguments, parse, takes_raw


def called(function: Callable[..., Any], *given: str) -> Any:
    """What the function returns when called with what the command line gives."""
    arguments = parse(function, given, program="afield run x.py::f")
    return function(*arguments.args, **arguments.kwargs)


def every_type(  # type: ignore[no-untyped-def]
    a: str,
    b: int,
    c: float,
    d: bool,
    e: dt.datetime,
    f: Literal["x", "y"],
    g: Literal[1, 2],
    h,
) -> tuple[Any, ...]:
    """One parameter of each kind."""
    return a, b, c, d, e, f, g, h


def test_every_type() -> None:
    """Each type is read as itself; without annotation the text stays as it is."""
    line = "--a 7 --b -7 --c 1e3 --no-d --e 2024-02-29 --f y --g 2 --h 08"
    assert called(every_type, *line.split()) == (
        "7",
        -7,
        1000.0,
        False,
        dt.datetime.fromisoformat("2024-02-29"),
        "y",
        2,
        "08",
    )


def test_defaults_are_the_functions_own() -> None:
    """What is not given is left to the function, whatever its default is."""
    default = object()

    def f(count: int = 3, thing: Any = default, *, flag: bool = True) -> tuple[Any, ...]:
        return count, thing, flag

    with pytest.raises(WrongUseError, match="'thing' has the type Any"):
        called(f)

    def g(count: int = 3, thing=default, *, flag: bool = True):  # type: ignore[no-untyped-def]
        return count, thing, flag

    assert called(g) == (3, default, True)
    assert called(g, "--no-flag", "--count=4") == (4, default, False)


def test_optional() -> None:
    """Optional, in either spelling, is the type itself; None is what it is when not given."""

    def f(a: int | None = None, b: Optional[str] = None, c: bool | None = None) -> tuple[Any, ...]:  # noqa: UP045
        return a, b, c

    assert called(f) == (None, None, None)
    assert called(f, "--a", "1", "--b", "2", "--c") == (1, "2", True)


def test_names_are_kebab() -> None:
    """Underscores become dashes; positional-only parameters are options too."""

    def f(first_name: str, /, _last_name: str = "") -> tuple[str, str]:
        return first_name, _last_name

    assert called(f, "--first-name", "a", "--last-name", "b") == ("a", "b")


def test_annotations_as_text() -> None:
    """Annotations may be strings, as with `from __future__ import annotations`, even with names that do not exist."""

    def f(a: "int", b: "NotThere" = None) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return a

    with pytest.raises(WrongUseError, match="'b' has the type NotThere"):
        called(f, "--a", "1")
    f.__annotations__.pop("b")
    assert called(f, "--a", "1") == 1


def test_raw_arguments() -> None:
    """`*args` alone gets everything as it is, even --help."""
    given = ["--x", "1", "--help", "y"]
    assert parse(lambda *args: args, given, program="p") == Arguments(tuple(given), {})


def variadic_too(a: int, *args: str) -> None: ...


def variadic_by_name(**kwargs: str) -> None: ...


def variadic_both(*args: str, **kwargs: str) -> None: ...


@pytest.mark.parametrize("function", [variadic_too, variadic_by_name, variadic_both])
def test_variadic_beside_others(function: Callable[..., Any]) -> None:
    """Other uses of `*args` and `**kwargs` have no meaning on a command line."""
    with pytest.raises(WrongUseError, match=r"only as \*args, alone"):
        takes_raw(inspect.signature(function), "p")


def wrong_cases(count: int, size: Literal["small", "big"] = "small") -> None:
    """Takes a count."""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "Missing option '--count'"),
        ("--count x", "'--count': 'x' is not a valid integer"),
        ("--count 1 --sise big", "No such option '--sise'. Did you mean '--size'"),
        ("--count 1 --size tall", "'tall' is not one of 'small', 'big'"),
        ("--count 1 more", "unexpected extra argument 'more'; .* as in --size more"),
        ("5", "unexpected extra argument '5'; .* as in --count 5"),
        ("--count 1 --size big --count 1", "'--count' is given more than once"),
        ("--count", "requires an argument"),
    ],
)
def test_wrong_input(line: str, reason: str) -> None:
    """Wrong input is told in one line that points to the help."""
    with pytest.raises(WrongUseError, match=reason) as caught:
        called(wrong_cases, *line.split())
    assert "\n" not in caught.value.message
    assert "(see afield run x.py::f --help)" in caught.value.message


@pytest.mark.parametrize("hint", [list, dict[str, int], int | str, Literal[1, "a"], bytes])
def test_types_that_cannot_be_read(hint: Any) -> None:
    """A parameter of another type is refused, naming the parameter and the type."""

    def f(thing: Any) -> None: ...

    f.__annotations__["thing"] = hint
    with pytest.raises(WrongUseError, match="its parameter 'thing' has the type"):
        called(f, "--thing", "1")


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows the function's own text, its options with their types and defaults."""
    with pytest.raises(SystemExit, match="0"):
        called(wrong_cases, "--help")
    shown = capsys.readouterr().out
    for part in ("afield run x.py::f", "Takes a count.", "--count INTEGER", "[required]", "[small|big]"):
        assert part in shown


def test_a_parameter_called_help() -> None:
    """A parameter may take the name of the help option."""

    def f(help: str) -> str:  # noqa: A002
        return help

    assert called(f, "--help", "me") == "me"
