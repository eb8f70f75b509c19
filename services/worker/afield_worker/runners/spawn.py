"""The process of a template: how it is started, and how it is started ahead of the worker that will hold it.

A template imports for as long as a worker does. Begun before the worker's own imports, it is ready when those are done.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from afield._guest.variables import CONTROL_FD, MARK


class Spawned(NamedTuple):
    """A template's process that nobody has spoken to yet."""

    process: "subprocess.Popen[bytes]"
    control: socket.socket
    """Our end of its control socket. It ends when this closes."""
    mark: str
    """What it and all that descends from it carry in their environment, as AFIELD_TEMPLATE."""


_ahead: Final[list[Spawned]] = []


def spawn_ahead() -> None:
    """Start a template of this interpreter, for the first who asks `spawn` for one. Call it on the main thread.

    Raises OSError.
    """
    _ahead.append(_spawn(sys.executable))


def spawn(python: str) -> Spawned:
    """Return the process of a template, started now or ahead. Raises OSError.

    Its parent-death signal follows the thread that made it, so this must not run in a pool's thread.
    """
    while python == sys.executable and _ahead:
        spawned = _ahead.pop()
        if spawned.process.poll() is None:
            return spawned
        spawned.control.close()
    return _spawn(python)


def _spawn(python: str) -> Spawned:
    mark = os.urandom(8).hex()
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            # -P: a file in the working folder must not stand in for a module.
            process = subprocess.Popen(
                [python, "-P", "-m", "afield._guest.template"],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                env=_environment(os.environ, mark, theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return Spawned(process, ours, mark)


def _environment(own: Mapping[str, str], mark: str, control: int) -> dict[str, str]:
    """Return the environment that containers start from: the worker's, without its settings and secrets."""
    kept = {name: value for name, value in own.items() if not name.startswith("AFIELD_")}
    if "AFIELD_PLATFORM" in own:
        kept["AFIELD_PLATFORM"] = own["AFIELD_PLATFORM"]  # so that the supervisor's last sweep finds it
    return {**kept, MARK: mark, CONTROL_FD: str(control)}
