"""The functions that the benchmarks call."""

from collections.abc import Callable
from typing import Any

import afield

app = afield.App("benchmarks")

COLD = 24
"""How many functions there are for cold calls: each is called once, so each call needs a new container."""


@app.function(max_containers=1)
def noop(value: int = 0) -> int:
    """Do nothing: what is measured is everything around it."""
    return value


@app.function()
def spread(value: int) -> int:
    """As `noop`, in as many containers as the platform likes."""
    return value


@app.function()
def nap(seconds: float) -> float:
    """Take a while, without a core."""
    import time

    time.sleep(seconds)
    return seconds


@app.function(max_containers=1)
def echo(data: bytes) -> bytes:
    """Send back what came."""
    return data


@app.function(max_containers=1)
def moments() -> tuple[int, int, int]:
    """When the container got the call, and when the function began and ended, on the clock that all processes of a host
    share (ns). The first call of a container does not know the first."""
    import time

    from benchmarks.probes import received

    began = time.monotonic_ns()
    return received(), began, time.monotonic_ns()


def _cold(number: int) -> Callable[[], int]:
    def cold() -> int:
        return number

    cold.__name__ = cold.__qualname__ = f"cold_{number}"
    return cold


cold: list[Any] = []
for _number in range(COLD):
    _function = _cold(_number)
    # Small, so that the host has room for all of them: what is measured is a start, not the wait for room.
    globals()[_function.__name__] = app.function(cpu=0.02, memory=16)(_function)
    cold.append(globals()[_function.__name__])
