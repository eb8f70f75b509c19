"""`afield app`: list the running apps, stop one."""

import difflib
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import anyio
import click

from afield import config
from afield.cli import fleet
from afield.cli.errors import FailureError, WrongUseError
from afield.cli.fleet import Target
from afield.cli.groups import SuggestingGroup

if TYPE_CHECKING:
    from afield._wire.functions import AppRecord

_ENV_HELP = "Environment to look in.  [default: AFIELD_ENVIRONMENT, else main]"


class _Found(NamedTuple):
    """A running app, and where it runs."""

    app: "AppRecord"
    on: Target

    def __str__(self) -> str:
        return f"{self.app.name} ({self.app.app_id})" if self.app.name else self.app.app_id


@click.group("app", cls=SuggestingGroup, short_help="List the running apps, or stop one.")
def app() -> None:
    """List the running apps, or stop one."""


@app.command("list", short_help="List the running apps.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("-e", "--env", help=_ENV_HELP)
def list_apps(*, as_json: bool, env: str | None) -> None:
    """List the running apps: name, id, state, since when, functions."""
    environment = config.environment(env)
    shown = [fleet.shown_app(found.app, found.on.platform) for found in _running(environment)]
    if as_json:
        click.echo(json.dumps({"apps": shown}, indent=2))
    elif shown:
        click.echo("\n".join(fleet.lined_up(fleet.app_rows(shown), fleet.terminal_width())))
    else:
        click.echo(f"No app runs in environment {environment}.")


@app.command("stop", short_help="Stop a running app.")
@click.argument("wanted", metavar="NAME_OR_ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-e", "--env", help=_ENV_HELP)
def stop(*, wanted: str, yes: bool, env: str | None) -> None:
    """Stop a running app: its containers end, what waits for it is dropped."""
    environment = config.environment(env)
    found = _choose(wanted, _running(environment), environment)
    if not yes and sys.stdin.isatty() and not click.confirm(f"Stop app {found}?", err=True):
        raise FailureError("nothing was stopped")
    anyio.run(_stop, found)
    click.echo(f"App {found} is stopped.")


def _running(environment: str) -> list[_Found]:
    return [found for target in fleet.targets() for found in anyio.run(_apps_on, target, environment)]


async def _apps_on(target: Target, environment: str) -> list[_Found]:
    async with fleet.connected(target) as bus:
        return [_Found(each, target) for each in await fleet.running_apps(bus, environment)]


async def _stop(found: _Found) -> None:
    from afield._wire.api import APP_STOP, AppRef

    async with fleet.connected(found.on) as bus:
        request = AppRef(ws=found.app.ws, app_id=found.app.app_id, reason="afield app stop")
        await bus.call(APP_STOP, request, timeout=fleet.ASK_S)


def _choose(wanted: str, running: list[_Found], environment: str) -> _Found:
    """Return the app that is meant. Raises WrongUseError, with the candidates, when none is, or several are."""
    fits = [each for each in running if each.app.app_id == wanted]
    fits = fits or [each for each in running if each.app.name == wanted]
    if len(fits) == 1:
        return fits[0]
    if fits:
        ids = ", ".join(each.app.app_id for each in fits)
        raise WrongUseError(f"{len(fits)} running apps are named {wanted!r}; say which one by its id: {ids}")
    raise WrongUseError(
        f"no app {wanted!r} runs in environment {environment!r}; {_candidates(wanted, running)}"
    )


def _candidates(wanted: str, running: list[_Found]) -> str:
    if not running:
        return "none runs there"
    keys = {key: each for each in running for key in (each.app.name, each.app.app_id) if key}
    close = difflib.get_close_matches(wanted, keys, 1)
    if close:
        return f"did you mean {keys[close[0]]}?"
    return f"there {'is' if len(running) == 1 else 'are'} {', '.join(map(str, running))}"
