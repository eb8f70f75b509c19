"""Which functions run in the Python processes of others: py-spy, which the development environment holds."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import folded
from benchmarks.lines import Lines

SPY: Final = Path(sys.executable).parent / "py-spy"
START_S: Final = 20.0
"""Seconds in which py-spy finds its way in a process; it takes 0.1 on an idle machine."""
END_S: Final = 30.0
"""Seconds in which it writes down what it saw."""
# It looks 500 times a second, and ends by itself after ten minutes, should nobody tell it to. Were processes stopped for each
# sample (no --nonblocking), their waits would look like work: half of all samples, since what was stopped is runnable after.
OPTIONS: Final = ["--format", "raw", "--nolineno", "--nonblocking", "--rate", "500", "--duration", "600"]


class CannotSampleError(Exception):
    """Functions cannot be told here; the message says why."""


@contextmanager
def sampled(pids: Iterable[int]) -> Iterator[dict[int, folded.Stacks]]:
    """Sample processes during the block; what was seen is in the mapping once the block has ended, by process.

    A process that ends in the block has what was seen until then. Raises CannotSampleError, before the block where py-spy
    is not installed, or the system does not let one process look into another.
    """
    if not SPY.exists():
        raise CannotSampleError(f"py-spy is not at {SPY}; `scripts/setup dev` installs it")
    stacks: dict[int, folded.Stacks] = {}
    with tempfile.TemporaryDirectory(prefix="afield-profile-") as folder:
        samplers = [_Sampler(pid, Path(folder)) for pid in pids]
        try:
            for sampler in samplers:
                sampler.wait_until_it_samples()
            yield stacks
            for sampler in samplers:
                sampler.ask_to_end()
            stacks.update((sampler.pid, sampler.read()) for sampler in samplers)
        finally:
            for sampler in samplers:
                sampler.kill()


class _Sampler:
    """One py-spy on one process."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self._path = folder / f"{pid}.folded"
        self._process = subprocess.Popen(
            [SPY, "record", *OPTIONS, "--output", self._path, "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said = Lines(self._process.stdout)

    def wait_until_it_samples(self) -> None:
        said = ""
        try:
            while line := self._said.next(timeout=START_S):
                if "Sampling process" in line:
                    return
                said += line
        except TimeoutError:
            raise CannotSampleError(f"py-spy did not begin to sample within {START_S:g} s: {said}") from None
        raise CannotSampleError(why(said))

    def ask_to_end(self) -> None:
        self._process.send_signal(signal.SIGINT)  # it writes its file then

    def read(self) -> folded.Stacks:
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise CannotSampleError(f"py-spy did not end within {END_S:g} s of being asked to") from None
        if not self._path.exists():
            raise CannotSampleError(f"py-spy ended with status {status} and wrote nothing about {self.pid}")
        return folded.parse(self._path.read_text(encoding="utf-8").splitlines())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def why(said: str) -> str:
    """Return what py-spy complained of, without the stack of its own that follows it."""
    complaint = said.partition("Stack backtrace:")[0]
    parts = [re.sub(r"^(Error|Caused by|\d+):\s*", "", line.strip()) for line in complaint.splitlines()]
    return "py-spy says: " + "; ".join(dict.fromkeys(part for part in parts if part))
