"""The client that is profiled, seen from outside: `benchmarks.profile_load` is what it runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.lines import Lines

WARM_S: Final = 60.0
"""Seconds that the client may take to warm up, to end what it does, and to end."""


class Load:
    """The client that is profiled: it works when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.pid = process.pid
        self._process = process
        self._said = Lines(process.stdout)

    def wait_until_warm(self) -> None:
        if (said := self._said.next(timeout=WARM_S).strip()) != "ready":
            raise RuntimeError(f"expected `ready` from the client that is profiled, got {said!r}")

    def work(self, seconds: float) -> int:
        """Have it work; return how many calls it made."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        said = self._said.next(timeout=seconds + WARM_S).strip()
        if not said.isdigit():
            raise RuntimeError(f"expected a number of calls from the client that is profiled, got {said!r}")
        return int(said)

    def end(self) -> None:
        """Let it leave its app."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=WARM_S)


@contextmanager
def loading(mode: str) -> Iterator[Load]:
    """Run the client for the block, in a process of its own; it is warm when the block begins."""
    command = [sys.executable, "-m", "benchmarks.profile_load", mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            load = Load(process)
            load.wait_until_warm()
            yield load
            load.end()
        finally:
            process.kill()
