"""Command line options from a function's parameters.

`def main(count: int, name: str = "x")` takes `--count N --name X`. Types: str, int, float, bool (with `--no-x`),
datetime.datetime, Literal of strings or of integers, each also as Optional; a parameter without annotation takes the
text as it is. A function with `*args` alone takes the raw arguments.
"""

import datetime as dt
import inspect
import shlex
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from afield.cli.errors import WrongUseError

_SIMPLE: dict[Any, click.ParamType[Any]] = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    inspect.Parameter.empty: click.UNPROCESSED,
    dt.datetime: click.DateTime(),
}


class Arguments(NamedTuple):
    """What to call the function with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Kind(NamedTuple):
    """How a parameter is read: its click type, and whether it is a switch."""

    type: click.ParamType[Any]
    switch: bool = False


def parse(function: Callable[..., Any], given: Sequence[str], *, program: str) -> Arguments:
    """Return the arguments that the command line gives to `function`.

    `program` is what stands before them (`afield run x.py::f`). Prints the help and raises SystemExit(0) on `--help`.
    Raises WrongUseError for arguments that do not fit, and for a function that cannot be called from a command line.
    """
    signature = inspect.signature(function)
    if takes_raw(signature, program):
        return Arguments(tuple(given), {})
    command = make_command(function, signature, program)
    try:
        with command.make_context(program, list(given)) as context:
            return _bind(signature, context)
    except click.exceptions.Exit as end:
        raise SystemExit(end.exit_code) from None
    except click.UsageError as error:
        raise WrongUseError(f"{_one_sentence(error)} (see {program} --help)") from None


class _Options(click.Command):
    """A command whose arguments are all options, each given at most once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what click would tell only after other mistakes (a stray value), or not at all (an option twice)."""
        values, strays, given = self.make_parser(ctx).parse_args(list(args))
        if not ctx.resilient_parsing and "help" not in values:
            self._refuse(ctx, strays, [each for each in given if isinstance(each, click.Option)])
        return super().parse_args(ctx, args)

    def _refuse(self, ctx: click.Context, strays: list[str], given: list[click.Option]) -> None:
        if strays:
            left = [each.opts[0] for each in self.params if each not in given]
            hint = f", as in {left[0]} {shlex.quote(strays[0])}" if left else ""
            ctx.fail(
                f"Got unexpected extra argument {strays[0]!r}; each value is given by the name of its option{hint}"
            )
        twice = next((each for at, each in enumerate(given) if each in given[:at]), None)
        if twice is not None:
            ctx.fail(f"Option {twice.opts[0]!r} is given more than once; give it one value")


def takes_raw(signature: inspect.Signature, program: str) -> bool:
    """Tell whether the function takes the raw arguments. Raises WrongUseError for `*args` beside others."""
    parameters = list(signature.parameters.values())
    variadic = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not variadic:
        return False
    if len(parameters) == 1 and variadic[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return True
    names = ", ".join(str(p).partition(":")[0] for p in variadic)
    raise WrongUseError(
        f"{program} cannot be given arguments: {names} can be used on a command line only as *args, alone"
    )


def make_command(function: Callable[..., Any], signature: inspect.Signature, program: str) -> click.Command:
    """Return the click command for a function; it has no callback. Raises WrongUseError for a type it cannot read."""
    hints = _hints(function)
    options: list[click.Parameter] = [
        _option(parameter, hints.get(name, parameter.annotation), program)
        for name, parameter in signature.parameters.items()
    ]
    taken = {flag for option in options for flag in option.opts}
    help_flags = [flag for flag in ("--help", "-h") if flag not in taken]
    return _Options(
        program,
        params=options,
        help=inspect.getdoc(function),
        context_settings={"help_option_names": help_flags, "max_content_width": 100, "show_default": True},
    )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, evaluated where that works (they may name what is imported for type checkers only)."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _option(parameter: inspect.Parameter, hint: Any, program: str) -> click.Option:
    kind = _kind(hint)
    if kind is None:
        raise WrongUseError(
            f"{program} cannot be run from the command line: its parameter {parameter.name!r} has the type "
            f"{_name(hint)}; it should be str, int, float, bool, datetime.datetime, or a Literal of str or int"
        )
    flag = parameter.name.strip("_").replace("_", "-") or parameter.name
    return click.Option(
        [spelled(flag, kind), f"p_{parameter.name}"],
        type=kind.type,
        required=parameter.default is inspect.Parameter.empty,
        **_shown_default(parameter.default, kind),
    )


def spelled(flag: str, kind: Kind) -> str:
    """Return an option's declaration."""
    return f"--{flag}/--no-{flag}" if kind.switch else f"--{flag}"


def _shown_default(default: Any, kind: Kind) -> dict[str, Any]:
    """Return the default for click, which shows it in the help; the function is called with its own default anyway.

    Only what click would read back as the same value: it would call a callable, and stumble over other types.
    """
    if type(default) not in (str, int, float, bool):
        return {}
    try:
        same = kind.type.convert(default, None, None) == default
    except click.ClickException:
        same = False
    return {"default": default} if same else {}


def _kind(hint: Any) -> Kind | None:
    if isinstance(hint, str):
        hint = {each.__name__: each for each in (str, int, float, bool)}.get(hint, hint)
    if hint is bool:
        return Kind(click.BOOL, switch=True)
    for each, type_ in _SIMPLE.items():
        if hint is each:
            return Kind(type_)
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        rest = [member for member in members if member is not type(None)]
        return _kind(rest[0]) if len(rest) == 1 and len(members) == 2 else None
    if origin is typing.Literal:
        if all(type(member) is str for member in members):
            return Kind(click.Choice(members))
        if all(type(member) is int for member in members):
            return Kind(_IntChoice([str(member) for member in members]))
    return None


class _IntChoice(click.Choice[str]):
    """A choice of integers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, int) else int(super().convert(value, param, ctx))


def _bind(signature: inspect.Signature, context: click.Context) -> Arguments:
    """Sort the values read into positional and keyword arguments; what was not given is left to the function."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        key = f"p_{name}"
        given = context.get_parameter_source(key) is not ParameterSource.DEFAULT
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            args.append(context.params[key] if given else parameter.default)
        elif given:
            kwargs[name] = context.params[key]
    return Arguments(tuple(args), kwargs)


def _one_sentence(error: click.UsageError) -> str:
    text = " ".join(error.format_message().split())
    return text.removesuffix(".")


def _name(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint).replace("typing.", "")
