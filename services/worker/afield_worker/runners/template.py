"""One template process, as its worker holds it."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

from afield._guest.template import FD_VARIABLE, MARK
from afield._wire.guest import Exited
from afield_worker.runners.base import RunnerError, describe_end
from afield_worker.runners.forkserver import ForkServer


class TemplateProcess(ForkServer):
    """A child process of this worker that forks containers. Make it on the event loop's own thread.

    `on_exited` is called when a container of it ended, `on_ended` once, when the template itself is gone: then
    its containers are dead or dying, and `end` says how it ended.
    """

    def __init__(
        self,
        python: str,
        on_exited: Callable[[Exited], None],
        on_ended: Callable[[], None],
    ) -> None:
        self.mark = secrets.token_hex(8)
        """What all processes that descend from it carry in their environment, as AFIELD_TEMPLATE."""
        self._on_ended = on_ended
        ours, theirs = socket.socketpair()
        try:
            self._process = _spawn(python, self.mark, theirs.fileno())
        except OSError as error:
            ours.close()
            raise RunnerError(f"could not start {python!r} for the template process: {error}") from error
        finally:
            theirs.close()
        # When it closes its socket it is dead, or of no use any more.
        super().__init__("the template process", ours, on_exited, self._process.kill)
        # Not a child watcher of the loop: those come with threads, or forget processes of other loops.
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_death)

    @property
    def pid(self) -> int:
        return self._process.pid

    def destroy(self) -> None:
        """Kill it; `on_ended` follows."""
        if not self.end:
            self._process.kill()

    def _on_death(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()
        self.ended(describe_end(None, -status) if status < 0 else describe_end(status, None))
        self._on_ended()


def _spawn(python: str, mark: str, control: int) -> "subprocess.Popen[bytes]":
    # Its parent-death signal follows the thread that made it, so this must not run in a pool's thread.
    # -P: a file in the working folder must not stand in for a module.
    return subprocess.Popen(
        [python, "-P", "-m", "afield._guest.template"],
        stdin=subprocess.DEVNULL,
        stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
        env=_environment(os.environ, mark, control),
        pass_fds=(control,),
        start_new_session=True,
    )


def _environment(own: Mapping[str, str], mark: str, control: int) -> dict[str, str]:
    """Return the environment that containers start from: the worker's, without its settings and secrets."""
    kept = {name: value for name, value in own.items() if not name.startswith("AFIELD_")}
    if "AFIELD_PLATFORM" in own:
        kept["AFIELD_PLATFORM"] = own["AFIELD_PLATFORM"]  # so that the supervisor's last sweep finds it
    return {**kept, MARK: mark, FD_VARIABLE: str(control)}
