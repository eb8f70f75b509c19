"""`afield run`: run a function or a local entrypoint of a file, on a platform."""

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from afield.cli import interrupts, loading, params, refs, results
from afield.cli.errors import WrongUseError
from afield.cli.params import Arguments
from afield.cli.prestart import prestarted
from afield.cli.refs import Candidate, Ref
from afield.config import DEFAULT_ENVIRONMENT

if TYPE_CHECKING:
    from afield.app import App

_HELP_FLAGS = {"-h", "--help"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `afield run`."""

    name: str | None
    write_result: Path | None
    quiet: bool
    detach: bool
    environment: str
    timestamps: bool


class _Run(click.Command):
    """`-::NAME`, a name in a script on standard input, looks like an option, and is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = next((i for i, arg in enumerate(args) if arg.startswith(f"{refs.STDIN}::")), None)
        return super().parse_args(ctx, args if at is None else [*args[:at], "--", *args[at:]])


@click.command(
    "run",
    cls=_Run,
    short_help="Run a function of a file.",
    context_settings={"allow_interspersed_args": False},
)
@click.option("-n", "--name", help="Name of the app while it runs.")
@click.option(
    "-w",
    "--write-result",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result (str or bytes) here.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show neither progress nor the output of functions.")
@click.option("-d", "--detach", is_flag=True, help="Keep the app running when this command ends.")
@click.option("-i", "--interactive", is_flag=True, help="Run interactively (not available yet).")
@click.option("-e", "--env", help="Environment to run in.  [default: AFIELD_ENVIRONMENT, else main]")
@click.option("-m", "as_module", is_flag=True, help="FUNC_REF is package.module[::NAME], not a file.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line of output.")
@click.option(
    "--alias", metavar="NAME", help="Let NAME import afield too: --alias modal runs programs written for it."
)
@click.argument("func_ref", metavar="FUNC_REF")
@click.argument("arguments", metavar="[--ARG VALUE ...]", nargs=-1, type=click.UNPROCESSED)
def run(
    func_ref: str,
    arguments: tuple[str, ...],
    *,
    name: str | None,
    write_result: Path | None,
    quiet: bool,
    detach: bool,
    interactive: bool,
    env: str | None,
    as_module: bool,
    timestamps: bool,
    alias: str | None,
) -> None:
    """Run a function of an app, or a local entrypoint.

    FUNC_REF is FILE.py, FILE.py::NAME or FILE.py::APP.NAME; NAME can be left out where only one thing can be meant.
    A method is FILE.py::CLASS.METHOD, and the class's parameters are options like its own.
    What follows it are arguments of the function: `afield run FILE.py --help` lists them.
    """
    if interactive:
        raise WrongUseError("-i (interactive runs) is not available yet; leave it out")
    _check_working_folder()
    if write_result is not None:
        results.check_place(write_result)
    ref = refs.parse(func_ref, as_module=as_module)
    options = Options(
        name=name,
        write_result=write_result,
        quiet=quiet,
        detach=detach,
        environment=_environment(env),
        timestamps=timestamps,
    )
    _install_alias(alias)
    with loading.script_of(ref) as ref:
        _run(ref, arguments, options, func_ref)


def _check_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise WrongUseError("the working folder does not exist any more; change to one that does") from None


def _environment(name: str | None) -> str:
    from afield import config
    from afield.exception import InvalidError

    try:
        chosen = config.environment(name)
    except InvalidError as error:
        raise WrongUseError(str(error)) from None
    os.environ["AFIELD_ENVIRONMENT"] = chosen  # what user code looks up, it looks up there too
    return chosen


def _install_alias(name: str | None) -> None:
    if name is None:
        return
    from afield import _alias
    from afield.exception import InvalidError

    try:
        _alias.install(name)
    except InvalidError as error:
        raise WrongUseError(str(error)) from None


def _run(ref: Ref, arguments: tuple[str, ...], options: Options, given: str) -> None:
    interrupts.watch_reader()
    with ExitStack() as stack:
        platform = None
        if not _HELP_FLAGS.intersection(arguments):
            if options.detach:
                _ensure_lasting_platform()
            platform = stack.enter_context(prestarted())
        module = loading.load(ref)
        candidate = refs.choose(ref, *loading.candidates(module))
        program = f"afield run {'-m ' if ref.file is None else ''}{given}"
        chosen = params.parse(candidate.target.raw_f, arguments, program=program)
        if options.write_result is not None:
            results.check(candidate.target.raw_f, candidate.name)
        if platform is None:  # `--help` was an argument for the function after all
            platform = stack.enter_context(prestarted())
        _get_ready()
        platform.wait()
        with _output(options):
            result = _call(candidate, chosen, options)
            if options.write_result is not None:
                results.write(result, options.write_result, candidate.name)


def _get_ready() -> None:
    """Start what the first call needs while the platform starts."""
    from afield import output  # noqa: F401 - imported for later
    from afield._portal import get_portal

    get_portal()


def _call(candidate: Candidate, arguments: Arguments, options: Options) -> Any:
    app: App = candidate.target.app
    with (
        app.run(name=options.name, detach=options.detach, environment_name=options.environment),
        interrupts.before_clean_up(),
    ):
        if options.detach and not options.quiet:
            # In one piece: the display writes to stderr too.
            click.echo(
                f"The app stays when this command ends; {_how_to_stop(app, options)} stops it.", err=True
            )
        if candidate.kind == "entrypoint":
            return _call_here(candidate.target.raw_f, arguments)
        if options.detach:
            return candidate.target.spawn(*arguments.args, **arguments.kwargs).get()
        return candidate.target.remote(*arguments.args, **arguments.kwargs)


def _how_to_stop(app: "App", options: Options) -> str:
    environment = "" if options.environment == DEFAULT_ENVIRONMENT else f"-e {options.environment} "
    return f"`afield app stop {environment}{app.app_id}`"


def _call_here(function: Callable[..., Any], arguments: Arguments) -> Any:
    from afield import output

    output.settle()
    try:
        result = function(*arguments.args, **arguments.kwargs)
        if inspect.iscoroutine(result):
            result = interrupts.run_async(result)
    except BaseException:
        with suppress(OSError):
            _flush_output()
        raise
    _flush_output()
    return result


def _flush_output() -> None:
    """What is said about the end of the run comes behind what the entrypoint has printed."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _output(options: Options) -> AbstractContextManager[Any]:
    if options.quiet:
        return nullcontext()
    from afield import output

    return output.enable_output(timestamps=options.timestamps)


def _ensure_lasting_platform() -> None:
    """A detached app outlives this command, so it cannot run on a platform that does not."""
    from afield import config
    from afield.cli.up import start_detached

    if config.server() is None and (record := start_detached()) is not None:
        print(
            f"Started a platform that stays (process {record['pid']}); `afield down` stops it.",
            file=sys.stderr,
        )
