"""`afield down`: stop the platform that `afield up` started."""

import signal
import time

import anyio
import click

from afield import _launch, _marks, config
from afield._launch import PlatformFolder
from afield.cli import fleet
from afield.cli.errors import FailureError

_PATIENCE_S = 130.0
"""Seconds for an orderly stop; what runs has 60 of them, the store of a busy server may need the rest."""
_LOOK_S = 0.02
_OTHERS_S = 10.0
"""Seconds that somebody else may take to clear away the same platform."""


@click.command("down", short_help="Stop the platform.")
@click.option("--force", is_flag=True, help="Kill it without waiting for what runs.")
def down(*, force: bool) -> None:
    """Stop the platform that `afield up` started, and wait until nothing of it is left."""
    folder = _launch.shared_folder()
    if not folder.alive():
        _launch.sweep(folder)
        click.echo("No platform of yours is running.")
        return
    pid = _supervisor(folder)
    stays = _detached(folder) if pid and not force else []
    if pid:
        _marks.kill(pid, signal.SIGKILL if force else signal.SIGTERM)
        if not _marks.wait_exit(pid, _PATIENCE_S):
            _marks.kill(pid, signal.SIGKILL)
            _marks.wait_exit(pid, 5)
    if not _swept(folder, pid):
        raise FailureError(f"somebody has started another platform in {folder.root} meanwhile; it runs")
    click.echo("The platform is down.")
    if stays:
        click.echo(
            f"Detached apps are there again after the next `afield up`, with what waits: {', '.join(stays)}."
        )


def _swept(folder: PlatformFolder, pid: int) -> bool:
    """Clear away what is left of the platform of a supervisor; False if there is another one in its folder now.

    Others may be at the same, for moments: another `afield down`, or an `afield up` whose start came to nothing.
    """
    end = time.monotonic() + _OTHERS_S
    while not _launch.sweep(folder):
        record = folder.record()
        if (record is not None and record["pid"] != pid) or time.monotonic() > end:
            return False
        time.sleep(_LOOK_S)
    return True


def _detached(folder: PlatformFolder) -> list[str]:
    """Return the detached apps, as far as the platform tells; it is stopped in any case."""
    record = folder.record()
    if record is None or record["state"] != "ready":
        return []
    told = anyio.run(fleet.ask, fleet.target(record), config.environment())
    return [f"{each['name']} ({each['id']})" for each in told.apps if each["state"] == "detached"]


def _supervisor(folder: PlatformFolder) -> int:
    """Return the supervisor's process id; one that is just starting writes it within moments. 0 if it has ended."""
    end = time.monotonic() + 10
    while folder.alive():
        record = folder.record()
        if record is not None:
            return int(record["pid"])
        if time.monotonic() > end:
            raise FailureError(f"somebody holds {folder.root}, but no supervisor has said who it is")
        time.sleep(_LOOK_S)
    return 0
