"""`afield up`: run a platform that stays."""

import os
from typing import Any, NoReturn

import click

from afield import _launch, config, embedded
from afield._launch import PlatformFolder
from afield.cli.errors import FailureError, WrongUseError
from afield.exception import Error, InvalidError


@click.command("up", short_help="Start a platform that stays.")
@click.option("--detach", "-d", is_flag=True, help="Return when it is ready, and leave it running.")
@click.option("--separate", is_flag=True, help="Give each service a process of its own.")
def up(*, detach: bool, separate: bool) -> None:
    """Start a platform that stays: `afield run` and programs of this user find it and use it.

    In the foreground it runs until Ctrl-C. What it stored is there again at the next start.
    """
    if config.server() is not None:
        raise WrongUseError(
            "AFIELD_SERVER is set, so programs would not use a platform started here; unset it first"
        )
    extra = ("--separate",) if separate else ()
    if detach:
        record = start_detached(extra)
        running = record or embedded.find_running()
        if running is None:
            raise FailureError("the platform that was running has just stopped; try again")
        click.echo(describe(running, already=record is None))
    else:
        _run_here(_launch.shared_folder(), extra)


def start_detached(extra: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Start this user's platform and return its record, or None when it runs already."""
    try:
        launched = _launch.launch(_launch.shared_folder(), owned=False, arguments=(*_cache(), *extra))
    except InvalidError as error:
        raise WrongUseError(str(error)) from error
    except Error as error:
        raise FailureError(str(error)) from error
    return launched.record if launched is not None else None


def describe(record: dict[str, Any], *, already: bool = False) -> str:
    """Return what a user wants to know of a platform."""
    return (
        f"afield is {'already ' if already else ''}up (process {record['pid']}); `afield down` stops it.\n"
        f"  server   {record['server']}\n"
        f"  gateway  {record['gateway']}\n"
        f"  files    {record['folder']}"
    )


def _run_here(folder: PlatformFolder, extra: tuple[str, ...]) -> NoReturn:
    """Become the supervisor, so that Ctrl-C and the logs are its own."""
    try:
        lock_fd = folder.claim()
    except InvalidError as error:
        raise WrongUseError(str(error)) from error
    if lock_fd is None:
        record = folder.record()
        who = f" (process {record['pid']})" if record else ""
        raise FailureError(f"a platform of yours is running already{who}; `afield down` stops it")
    _launch.clear(folder)
    os.set_inheritable(lock_fd, True)
    command = _launch.supervisor_command(folder, lock_fd, "--foreground", *_cache(), *extra)
    os.execve(command[0], command, _launch.new_mark(folder))  # noqa: S606 - this process becomes it


def _cache() -> tuple[str, ...]:
    return ("--cache", str(config.make_private(config.cache_dir())), "--environment", config.environment())
