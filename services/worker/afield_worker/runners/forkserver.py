"""The worker's end of a control socket: a process that forks containers, whether template or snapshot."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from afield._guest.channel import FrameChannel
from afield._wire.guest import FROM_TEMPLATE, Exited, Fork, Forked, Kill
from afield_worker.runners.base import RunnerError


class ForkServerEndedError(RunnerError):
    """Raised when the process ended before it had forked."""


class ForkServer:
    """A process that forks containers when it is told to, and tells when they end.

    `on_exited` is called when a container of it ended, `on_close` once, when it closed its end of the socket.
    """

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        on_exited: Callable[[Exited], None],
        on_close: Callable[[], None],
    ) -> None:
        self.name = name
        """For people: `the template process`."""
        self.end = ""
        """How the process ended; empty while it has not."""
        self._on_exited = on_exited
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._forks: dict[str, asyncio.Future[int]] = {}
        self._channel = FrameChannel(sock, FROM_TEMPLATE, self._on_frame, self._on_channel_close)
        self._channel.start()

    def fork(self, command: Fork, descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """Ask for a container; the descriptors (link, stdout, stderr) are closed here when they are sent.

        The future gives its process id, or raises RunnerError.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        if self.end:
            self._channel.send(command, descriptors)  # which is closed, and closes them
            future.set_exception(self.ended_error())
            return future
        self._forks[command.container_id] = future
        self._channel.send(command, descriptors)
        return future

    def kill(self, container_id: str, signum: int, *, tree: bool = False) -> None:
        """Send a signal to a container, if it is still there."""
        self._channel.send(Kill(container_id=container_id, signal=signum, tree=tree))

    def close(self) -> None:
        """Let it kill its containers and end."""
        self._channel.close()

    def ended(self, how: str) -> None:
        """The process is gone: take what it has said, and give up what it was asked for."""
        self._channel.read_now()
        self._channel.close()
        self.end = how
        for future in self._forks.values():
            if not future.done():
                future.set_exception(self.ended_error())
        self._forks.clear()

    def on_forked(self, frame: Forked) -> None:
        """It has forked, or could not."""
        future = self._forks.pop(frame.container_id, None)
        if future is None or future.done():
            # Whoever asked has given up.
            self.kill(frame.container_id, signal.SIGKILL, tree=True)
        elif frame.pid:
            future.set_result(frame.pid)
        else:
            future.set_exception(RunnerError(f"{self.name} could not fork a container: {frame.error}"))

    def ended_error(self) -> ForkServerEndedError:
        """Return an error that says that it is gone, and how."""
        return ForkServerEndedError(f"{self.name} {self.end}")

    def _on_frame(self, frame: Any) -> None:
        if isinstance(frame, Forked):
            self.on_forked(frame)
        else:
            assert isinstance(frame, Exited)
            self._on_exited(frame)

    def _on_channel_close(self, _: Exception | None) -> None:
        self._on_close()
