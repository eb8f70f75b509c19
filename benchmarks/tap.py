"""The wiretap beside a benchmark, as a process of its own: see `benchmarks.wiretap`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any


@contextmanager
def listening(record: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """Run the wiretap on a platform for the block. Raises RuntimeError when it does not start."""
    env = {**os.environ, "BENCH_SERVER": record["server"], "BENCH_TOKEN": record["operator"]}
    command = [sys.executable, "-m", "benchmarks.wiretap"]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            said = _pipe(process.stdout).readline()
            if said.strip() != "ready":
                raise RuntimeError(f"the wiretap did not start: it said {said!r}")
            yield process
        finally:
            process.kill()


def noted(tap: "subprocess.Popen[str]") -> list[tuple[str, str, int]]:
    """Close the tap's standard input, and read what it noted."""
    _pipe(tap.stdin).close()
    return [(hop, call_id, at) for hop, call_id, at in json.load(_pipe(tap.stdout))]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
