"""Runs of `benchmarks.stream_load` in processes that begin together."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, Final, NamedTuple

LOAD_S: Final = 150.0
"""Seconds that one load may take."""


class Load(NamedTuple):
    """What one process does; see `benchmarks.stream_load`."""

    what: str
    url: str
    shards: Sequence[int]
    messages: int
    name: str


class Ran(NamedTuple):
    """What the processes of one run said."""

    messages: int
    seconds: float
    """From the first that began to the last that ended."""
    times: list[float]
    """Seconds of each round trip, where there are some."""

    @property
    def rate(self) -> float:
        """How many a second, of all processes together."""
        return self.messages / self.seconds


def run(loads: Sequence[Load]) -> Ran:
    """Start a process for each load, let them begin together, and return what they said. Raises RuntimeError if one fails."""
    with ExitStack() as stack:
        started = [stack.enter_context(_started(load)) for load in loads]
        for process in started:
            _pipe(process.stdin).write("go\n")
            _pipe(process.stdin).flush()
        said = [_said(process, *process.communicate(timeout=LOAD_S)[:1]) for process in started]
    return together(sum(load.messages for load in loads), said)


def together(messages: int, said: Sequence[dict[str, Any]]) -> Ran:
    """Return one run from what its processes said."""
    seconds = max(each["ended"] for each in said) - min(each["began"] for each in said)
    return Ran(messages, seconds, [one for each in said for one in each["times"]])


@contextmanager
def _started(load: Load) -> Iterator["subprocess.Popen[str]"]:
    shards = ",".join(map(str, load.shards))
    words = [load.what, load.url, shards, str(load.messages), load.name]
    command = [sys.executable, "-m", "benchmarks.stream_load", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if _pipe(process.stdout).readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} did not start; its error output says why")
            yield process
        finally:
            process.kill()


def _said(process: "subprocess.Popen[str]", output: str) -> dict[str, Any]:
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}; see its error output")
    found: dict[str, Any] = json.loads(output)
    return found


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
