"""What the worker knows of any runner: it starts containers, and tells what becomes of them."""

import os
import signal
from typing import Any, Literal, NamedTuple, Protocol

from afield._wire.guest import Start

Stream = Literal["stdout", "stderr"]


class RunnerError(Exception):
    """Raised when a runner could not start a container: the platform's or the host's fault, never the user's."""


class ExitInfo(NamedTuple):
    """How a container ended."""

    exit_code: int | None
    """Its exit status; None if a signal ended it."""
    signal: int | None
    """The signal that ended it, else None."""
    oom: bool
    """Whether it was killed for the memory that it took."""
    peak_kib: int
    """The most memory that it held, in KiB, as far as anybody saw: any of its processes, or all of them together."""
    reason: str
    """One clause for people, for example `was killed by SIGSEGV (signal 11)`."""
    platform: str = ""
    """The same, if it was the platform's doing and user code is not to blame; else empty."""
    cpu_s: float = 0.0
    """Seconds of processor time that it used, as far as anybody saw."""


class ContainerHandlers(Protocol):
    """Who is told of containers. Called on the event loop, synchronously; must not block or raise."""

    def on_frame(self, container: "Container", frame: Any) -> None:
        """The guest sent a frame."""

    def on_output(self, container: "Container", stream: Stream, data: bytes) -> None:
        """The container wrote: any bytes, in order per stream, at most 64 KiB at once."""

    def on_exit(self, container: "Container", info: ExitInfo) -> None:
        """The container ended with all its processes. Its frames and output all came before; nothing comes after."""


class Container(Protocol):
    """One running container."""

    @property
    def id(self) -> str: ...

    @property
    def pid(self) -> int:
        """The process that runs user code. Another one from the time that a snapshot was taken of it."""

    @property
    def peak_kib(self) -> int:
        """The most memory that it has held so far, in KiB."""

    def send(self, frame: Any) -> None:
        """Send Run, Credit, Cancel or Stop. Dropped if the container is gone; raises LinkFullError if it is stuck."""

    def interrupt(self) -> None:
        """Have the guest look at its link, even while synchronous user code runs.

        A Cancel sent before is obeyed then. If there is none, the input that runs ends as timed out, provided that it
        has run for at least half its timeout; else the guest reports what has ended, as the ring was for another.
        """

    def kill(self, reason: str = "") -> None:
        """Kill all its processes. `on_exit` follows; `reason` is then part of it."""

    def drain_output(self) -> None:
        """Read what the pipes hold now, and call `on_output`; bounded by the pipes' size."""

    def pause_output(self) -> None:
        """Stop reading the pipes; a container that writes on is blocked, and loses nothing."""

    def resume_output(self) -> None:
        """Read the pipes again."""


class Runner(Protocol):
    """A way to make containers; used as an asynchronous context manager, which ends them all."""

    name: str

    @property
    def mechanisms(self) -> dict[str, str]:
        """What enforces the limits of containers: `memory` and `cpu`, each `cgroup v1`, `cgroup v2` or other words."""

    async def start(self, spec: Start, env: dict[str, str], handlers: ContainerHandlers) -> Container:
        """Start a container within the limits of its function, and send it `spec`.

        `env` goes over the function's own environment. Raises RunnerError.
        """

    def retire(self, *, app_id: str = "", function_id: str = "") -> None:
        """No more containers of this app, or of this function, will be asked for."""


def split_status(status: int) -> tuple[int | None, int | None]:
    """Return the exit code, or else the signal, of a status as from os.waitpid."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def describe_end(exit_code: int | None, signum: int | None) -> str:
    """Return a clause for people that says how a process ended."""
    if signum is None:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return f"was killed by signal {signum}"
    return f"was killed by {name} (signal {signum})"
