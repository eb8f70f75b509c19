"""The command `afield` with all that it can do, as `__main__` starts it."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from afield import __version__
from afield.cli import interrupts
from afield.cli.errors import EXIT_PIPE, EXIT_USAGE
from afield.cli.groups import SuggestingGroup

_COMMANDS: Final = {
    "run": "Run a function of a file.",
    "up": "Start a platform that stays.",
    "down": "Stop the platform.",
    "status": "Show what runs.",
    "app": "List the running apps, or stop one.",
}
"""Each is in the module of its name, which is imported only when the command is used."""


_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a write to standard output may fail with, other than for want of a reader."""


class _Commands(SuggestingGroup):
    """Commands that are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"afield.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except interrupts.Terminated as interrupt:
            # click would write a new line, as after ^C, and nobody pressed that.
            if interrupt.signum is signal.SIGPIPE:
                raise click.exceptions.Exit(EXIT_PIPE) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="afield %(version)s")
def afield() -> None:
    """Run Python functions somewhere else, as if they were here."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, and end the process with its exit status, as `__main__` has it."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:  # `>&-`
            sys.stdout.flush()
    except BrokenPipeError:
        _discard(1)
        code = EXIT_PIPE
    except KeyboardInterrupt as interrupt:  # it came between the command and here
        code = _interrupted(interrupt)
    except OSError as error:
        code = _cannot_write(error)
    finally:
        interrupts.hold()
        _finish_standard_error()
    if code == 0 and (missed := interrupts.late()):
        code = _interrupted(missed)
    if code > 128:
        interrupts.leave(code)
    sys.exit(code)


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    if words := interrupts.words(interrupt):
        _say(words)
    return interrupts.status(interrupt)


def _cannot_write(error: OSError) -> int:
    _discard(1)
    _say(f"Error: cannot write to standard output: {error.strerror or error}")
    return 1


def _say(text: str) -> None:
    """Write a line on standard error. Where that cannot be, the exit status has to do."""
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        _discard(2)


def _discard(stream_fd: int) -> None:
    """Let what the interpreter would still flush go nowhere: nobody reads any more (`| head`), or there is no room."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream_fd)
    os.close(nowhere)


def _finish_standard_error() -> None:
    """Flush it while a failure can still be kept from the exit status: the interpreter would make it 120."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _discard(2)
    except ValueError:  # it is closed
        return


def _run(arguments: Sequence[str]) -> int:
    try:
        result = afield.main(list(arguments), prog_name="afield", standalone_mode=False)
    except click.Abort as abort:  # what click makes of a KeyboardInterrupt
        interrupt = abort.__cause__ if isinstance(abort.__cause__, KeyboardInterrupt) else KeyboardInterrupt()
        return _interrupted(interrupt)
    except click.exceptions.NoArgsIsHelpError as error:
        _say(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        _complain(error)
        return EXIT_USAGE
    except click.ClickException as error:
        _complain(error)
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        raise
    except SystemExit:
        # When the reader has left, click puts something else in place of standard output, and has a status of its own.
        if type(sys.stdout).__module__ == "click.utils":
            raise BrokenPipeError from None
        raise
    except Exception as error:
        return _failed(error)
    return result if isinstance(result, int) else 0


def _complain(error: click.ClickException) -> None:
    """Say what is wrong on stderr, in one line where it is one sentence."""
    text = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        said = " ".join(text.split()).removesuffix(".")
        help_at = f"see {error.ctx.command_path} --help"
        # What click proposes stands in brackets already.
        text = f"{said[:-1]}; {help_at})" if said.endswith(")") else f"{said} ({help_at})"
    _say(f"Error: {text}")


def _failed(error: Exception) -> int:
    """Show an error of user code, or of ours, and return the exit status."""
    from afield.cli.loading import UserCodeError
    from afield.cli.tracebacks import has_user_frames, show
    from afield.exception import Error, InvalidError

    cause = error.__cause__ if isinstance(error, UserCodeError) and error.__cause__ else error
    if interrupt := interrupts.inside(cause):
        return _interrupted(interrupt)
    if isinstance(cause, BrokenPipeError) and interrupts.is_gone(1):
        raise cause
    if isinstance(cause, OSError) and cause.errno in _FULL and (problem := _output_problem()) is not None:
        raise problem
    if isinstance(cause, Error) and not has_user_frames(cause):
        _say(f"Error: {cause}")
        return EXIT_USAGE if isinstance(cause, InvalidError) else 1
    try:
        show(cause)
    except OSError:  # there is nowhere to show it
        _discard(2)
    return 1


def _output_problem() -> OSError | None:
    """Return why standard output takes nothing more, if it does not: what failed to go out is tried again."""
    if sys.stdout is None:
        return None
    try:
        sys.stdout.flush()
        if getattr(
            sys.stdout, "write_through", False
        ):  # `python -u`: nothing was kept that could be tried again
            os.write(1, b"\n")
    except BrokenPipeError:  # has a way of its own
        return None
    except OSError as error:
        return error
    return None
