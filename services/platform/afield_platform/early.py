"""The services' process, started before all else: importing the services takes longest, so it begins first.

What the supervisor works out meanwhile (ports, secrets) the process is told through a pipe; it waits for that when it has
everything imported. This module is imported before any other, and needs nothing that the interpreter has not loaded.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

from afield_platform.roles import SERVICES

_MODULE: Final = "afield_platform.serve"
READY_FD: Final = "AFIELD_READY_FD"
_KEPT_BACK: Final = "AFIELD_TOKEN"
"""User code inherits the environment, and must not see the caller's token."""


class Early(NamedTuple):
    """A process of all services that waits to be told where it belongs."""

    pid: int
    output: int
    """Reading end of its standard output and standard error."""
    ready: int
    """Reading end of its readiness lines."""
    orders: int
    """Writing end of what it waits for: its end without a word is the end of the process."""

    @classmethod
    def start(cls) -> Self:
        """Start it. Raises OSError."""
        _keep_descriptors()
        output_r, output_w = os.pipe()
        ready_r, ready_w = os.pipe()
        orders_r, orders_w = os.pipe()
        given = (output_w, ready_w, orders_r)
        try:
            for fd in (ready_w, orders_r):
                os.set_inheritable(fd, True)
            pid = os.posix_spawn(
                sys.executable,
                # -P: nothing in the working folder may stand in for a module of ours.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "afield_platform.serve",
                    "--orders-fd",
                    str(orders_r),
                    *SERVICES,
                ],
                {**_environment(), READY_FD: str(ready_w)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output_w, 1),
                    (os.POSIX_SPAWN_DUP2, output_w, 2),
                ],
                setsid=True,  # a Ctrl-C on the terminal is for the supervisor alone
            )
        except BaseException:
            for fd in (output_r, ready_r, orders_w):
                os.close(fd)
            raise
        finally:
            for fd in given:
                os.close(fd)
        return cls(pid, output_r, ready_r, orders_w)

    def go(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Tell it the rest of its command line and its environment. One that has ended is noticed where all ends are."""
        import json

        inherited = _environment()
        fresh = {name: value for name, value in environment.items() if inherited.get(name) != value}
        orders = {"argv": argv[argv.index(_MODULE) + 1 :], "environment": fresh}
        try:
            os.write(self.orders, json.dumps(orders).encode())  # far less than a pipe holds
        except BrokenPipeError:
            pass
        finally:
            os.close(self.orders)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != _KEPT_BACK}


def _keep_descriptors() -> None:
    """The lock and the pipes that the supervisor was given are for it alone; Popen closes them, posix_spawn does not."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd > 2:
                os.set_inheritable(fd, False)
        except OSError:  # the one that listed the folder
            continue
