"""afield, on a private platform as `afield run` starts it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import uvloop

import afield
from benchmarks.peers.programs.peer import Fly, Peer
from benchmarks.peers.programs.serve import serve
from benchmarks.peers.works import SLOTS

app = afield.App("peers")
flying = afield.App("peers-async")

COLD = 10
"""How many functions there are for cold calls: each is called once, so each call needs a container."""


@app.function()
def noop(value: int) -> int:
    """Return what came."""
    return value


@app.function(max_containers=SLOTS)
def nap(seconds: float) -> float:
    """Take a while, without a core."""
    time.sleep(seconds)
    return seconds


@app.function()
def echo(data: bytes) -> bytes:
    """Send back what came."""
    return data


@app.function()
def total(count: int) -> int:
    """Call another function so many times."""
    return sum(noop.map(range(count)))


@flying.function()
def fly(value: int) -> int:
    """Return what came, to an asynchronous client."""
    return value


def _cold(number: int) -> Callable[[], int]:
    def cold() -> int:
        return number

    cold.__name__ = cold.__qualname__ = f"cold_{number}"
    return cold


colds: list[Any] = []
for _number in range(COLD):
    _function = _cold(_number)
    # Small, so that the host has room for all of them: what is measured is a start, not the wait for room.
    globals()[_function.__name__] = app.function(cpu=0.02, memory=16)(_function)
    colds.append(globals()[_function.__name__])


class Afield(Peer):
    """The methods of its functions."""

    def __init__(self) -> None:
        self._held = ExitStack()

    def start(self, slots: int) -> None:
        """Start a private platform; containers come with the calls."""
        self._held.enter_context(app.run())

    def stop(self) -> None:
        self._held.close()

    def call(self, value: int) -> int:
        return noop.remote(value)

    def map(self, values: Sequence[int]) -> list[int]:
        return list(noop.map(values))

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        """The documentation advises none: a map packs its inputs by itself."""
        return self.map(values)

    def naps(self, count: int, seconds: float) -> list[float]:
        return list(nap.map([seconds] * count))

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        async def all_at_once(values: Sequence[int]) -> list[int]:
            return await asyncio.gather(*(fly.remote.aio(value) for value in values))

        async def connected(ready: "asyncio.Future[None]", done: asyncio.Event) -> None:
            async with flying.run():
                ready.set_result(None)
                await done.wait()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            loop = runner.get_loop()
            ready, done = loop.create_future(), asyncio.Event()
            # One task holds the connection from begin to end, as its task group demands.
            life = loop.create_task(connected(ready, done))
            loop.run_until_complete(asyncio.wait({ready, life}, return_when="FIRST_COMPLETED"))
            try:
                yield lambda values: loop.run_until_complete(all_at_once(values))
            finally:
                done.set()
                loop.run_until_complete(life)

    def nested(self, count: int) -> int:
        return total.remote(count)

    def echo(self, data: bytes) -> bytes:
        return echo.remote(data)

    def cold(self, number: int) -> int:
        result: int = colds[number].remote()
        return result


if __name__ == "__main__":
    serve(Afield())
