"""The functions of `benchmarks.scaling`. BENCH_FUNCTIONS and BENCH_CONTAINERS say how many there are to be."""

import os
import time
from collections.abc import Callable

import afield

app = afield.App("scaling")

CONTAINERS = int(os.environ.get("BENCH_CONTAINERS", "0")) or None
SMALL_CPU = 0.02
SMALL_MIB = 16


@app.function(max_containers=1)
def first(value: int) -> int:
    """The function that is called."""
    return value


@app.function()
def spread(value: int) -> int:
    """The function that is mapped."""
    return value


@app.function(cpu=SMALL_CPU, memory=SMALL_MIB, min_containers=CONTAINERS or 0, max_containers=CONTAINERS)
def crowd(value: int) -> int:
    """The function that has many containers."""
    return value


@app.function(cpu=SMALL_CPU, memory=SMALL_MIB, max_containers=1)
def nap(seconds: float) -> float:
    """The function whose inputs queue."""
    time.sleep(seconds)
    return seconds


def _idle(number: int) -> Callable[[], int]:
    def idle() -> int:
        return number

    idle.__name__ = idle.__qualname__ = f"idle_{number}"
    return idle


for _number in range(int(os.environ.get("BENCH_FUNCTIONS", "0"))):
    _function = _idle(_number)
    globals()[_function.__name__] = app.function(cpu=SMALL_CPU, memory=SMALL_MIB)(_function)
