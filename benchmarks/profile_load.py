"""The client that is profiled, as a process of its own: `python -m benchmarks.profile_load warm|map|flights`.

It warms up and says `ready`. Then, for each line of its standard input, a number of seconds, it works for as long and says
how many calls (or inputs) that were.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.workloads import app, spread

INPUTS: Final = 10_000
AT_ONCE: Final = 1_000
WARM_UP: Final = 300


def warm() -> int:
    """One blocking call after another."""
    for number in range(100):
        spread.remote(number)
    return 100


def maps() -> int:
    """A map of no-ops."""
    if list(spread.map(range(INPUTS))) != list(range(INPUTS)):
        raise AssertionError("the map gave other results than its inputs")
    return INPUTS


async def flights() -> int:
    """Calls that one client has in flight at once."""
    await asyncio.gather(*[spread.remote.aio(number) for number in range(AT_ONCE)])
    return AT_ONCE


BLOCKING: Final[dict[str, Callable[[], int]]] = {"warm": warm, "map": maps}
ASYNC: Final[dict[str, Callable[[], Awaitable[int]]]] = {"flights": flights}


def main() -> None:
    """Work as asked until the standard input closes."""
    mode = sys.argv[1]
    if mode in ASYNC:
        asyncio.run(_serve_async(ASYNC[mode]))
        return
    work = BLOCKING[mode]
    with app.run():
        for number in range(WARM_UP):
            spread.remote(number)
        work()
        _say("ready")
        for line in sys.stdin:
            until, done = time.monotonic() + float(line), 0
            while time.monotonic() < until:
                done += work()
            _say(str(done))


async def _serve_async(work: Callable[[], Awaitable[int]]) -> None:
    async with app.run():
        for number in range(WARM_UP):
            await spread.remote.aio(number)
        await work()
        _say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            until, done = time.monotonic() + float(line), 0
            while time.monotonic() < until:
                done += await work()
            _say(str(done))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
