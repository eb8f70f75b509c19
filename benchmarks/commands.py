"""What a person at a terminal waits for: `afield run` from nothing, and the lines that a function prints."""

import subprocess
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, percentile
from benchmarks.stack import AFIELD, fresh_home

RUNS = 5


def hello() -> Iterator[Figure]:
    """`afield run examples/hello.py` with no platform running: to the line with the result, and to the prompt."""
    firsts, totals = [], []
    for _ in range(RUNS):
        with fresh_home():
            first, total = _run_hello()
            firsts.append(first)
            totals.append(total)
    yield Figure(
        name="afield run hello.py, first result",
        value=percentile(firsts, 50),
        unit="s",
        least=2.0,
        aim=1.0,
        detail=f"median of {RUNS}, from nothing; {percentile(totals, 50):.2f} s until everything is gone again",
    )


def _run_hello() -> tuple[float, float]:
    began = time.perf_counter()
    first = 0.0
    said = []
    command = [*AFIELD, "run", "examples/hello.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "the square of 42 is 1764" in line:
                first = time.perf_counter() - began
    if process.returncode or not first:
        raise RuntimeError(
            f"{' '.join(command)} failed with exit code {process.returncode}:\n{''.join(said)}"
        )
    return first, time.perf_counter() - began


def lines() -> Iterator[Figure]:
    """From `print` in a function to the line in the output of `afield run`."""
    late = []
    command = [*AFIELD, "run", "benchmarks/log_program.py"]
    with (
        fresh_home(),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            heard = time.monotonic_ns()
            words = line.split()
            if "line" in words and words[-1].isdecimal():
                late.append((heard - int(words[-1])) / 1e6)
    if process.returncode or len(late) < 10:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, {len(late)} lines")
    yield Figure(
        name="print to line in the client, p50",
        value=percentile(late, 50),
        unit="ms",
        aim=30,
        detail=f"{len(late)} lines; slowest {max(late):.0f} ms",
    )
