"""One template process, as its worker holds it."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from afield._guest.channel import FrameChannel
from afield._guest.template import FD_VARIABLE, MARK
from afield._wire.guest import FROM_TEMPLATE, Exited, Fork, Forked, Kill
from afield_worker.runners.base import RunnerError, describe_end


class TemplateEndedError(RunnerError):
    """Raised when the template process ended before it had forked."""


class TemplateProcess:
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
        self.end = ""
        self._on_exited = on_exited
        self._on_ended = on_ended
        self._forks: dict[str, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            self._process = _spawn(python, self.mark, theirs.fileno())
        except OSError as error:
            ours.close()
            raise RunnerError(f"could not start {python!r} for the template process: {error}") from error
        finally:
            theirs.close()
        # Not a child watcher of the loop: those come with threads, or forget processes of other loops.
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_death)
        self._channel = FrameChannel(ours, FROM_TEMPLATE, self._on_frame, self._on_close)
        self._channel.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, command: Fork, descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """Ask for a container; the descriptors (link, stdout, stderr) are closed here when they are sent.

        The future gives its process id, or raises RunnerError.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        if self.end:
            self._channel.send(command, descriptors)  # which is closed, and closes them
            future.set_exception(TemplateEndedError(f"the template process {self.end}"))
            return future
        self._forks[command.container_id] = future
        self._channel.send(command, descriptors)
        return future

    def kill(self, container_id: str, signum: int, *, tree: bool = False) -> None:
        """Send a signal to a container, if it is still there."""
        self._channel.send(Kill(container_id=container_id, signal=signum, tree=tree))

    def close(self) -> None:
        """Let it kill its containers and end; `on_ended` follows."""
        self._channel.close()

    def destroy(self) -> None:
        """Kill it; `on_ended` follows."""
        if not self.end:
            self._process.kill()

    def _on_frame(self, frame: Any) -> None:
        if isinstance(frame, Forked):
            self._on_forked(frame)
        else:
            assert isinstance(frame, Exited)
            self._on_exited(frame)

    def _on_forked(self, frame: Forked) -> None:
        future = self._forks.pop(frame.container_id, None)
        if future is None or future.done():
            # Whoever asked has given up.
            self.kill(frame.container_id, signal.SIGKILL, tree=True)
        elif frame.pid:
            future.set_result(frame.pid)
        else:
            future.set_exception(
                RunnerError(f"the template process could not fork a container: {frame.error}")
            )

    def _on_close(self, _: Exception | None) -> None:
        """It is dead, or of no use any more."""
        self._process.kill()

    def _on_death(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._channel.read_now()
        self._channel.close()
        status = self._process.wait()
        self.end = describe_end(None, -status) if status < 0 else describe_end(status, None)
        for future in self._forks.values():
            if not future.done():
                future.set_exception(TemplateEndedError(f"the template process {self.end}"))
        self._forks.clear()
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
