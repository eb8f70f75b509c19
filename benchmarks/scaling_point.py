"""One point of `benchmarks.scaling`, measured on the platform that runs: `python -m benchmarks.scaling_point AXIS SIZE`."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from afield import embedded
from afield.serialization import dumps_call
from benchmarks.figures import percentile
from benchmarks.stack import processes

if TYPE_CHECKING:
    from afield.function import Function

WARM_UP: Final = 200
CALLS: Final = 1000
INPUTS: Final = 10_000
MAPS: Final = 4
AT_ONCE: Final = 32
"""Calls that are in flight from all clients together."""

FIXED: Final = {"functions": 4, "containers": 4}
"""Functions of the app that are there in any case."""

READY_S: Final = 120.0
"""Seconds in which all containers must be ready."""


def main() -> None:
    """Measure, and print JSON."""
    axis, size = sys.argv[1], int(sys.argv[2])
    measures: dict[str, Callable[[int], dict[str, float]]] = {
        "functions": functions,
        "containers": containers,
        "queued": queued,
        "clients": lambda size: asyncio.run(clients(size)),
    }
    print(json.dumps(measures[axis](size)))


def functions(size: int) -> dict[str, float]:
    """Many functions that nobody calls."""
    os.environ["BENCH_FUNCTIONS"] = str(max(0, size - FIXED["functions"]))
    with _running():
        return _measured(_app().first, _app().spread)


def containers(size: int) -> dict[str, float]:
    """Many containers of the function that is called."""
    os.environ["BENCH_CONTAINERS"] = str(size)
    with _running():
        crowd = _app().crowd
        end = time.monotonic() + READY_S
        while (ready := crowd.get_current_stats().input_headroom) < size:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"expected {size} ready containers within {READY_S:g} s, there are {ready}"
                )
            time.sleep(0.1)  # the figures are asked for, nobody tells them
        return _measured(crowd, crowd)


def queued(size: int) -> dict[str, float]:
    """A long queue of a function that has one container."""
    with _running():
        _app().nap.spawn_map([1.0] * size)
        return _measured(_app().first, _app().spread)


async def clients(size: int) -> dict[str, float]:
    """Many clients with connections of their own, that call the same function."""
    from afield._platform import Client

    module = _app()
    async with module.app.run(), AsyncExitStack() as stack:
        uplink, record = module.first._binding
        opened = [
            await stack.enter_async_context(Client.open(uplink.address, uplink.ws)) for _ in range(size)
        ]

        async def call(number: int) -> float:
            began = time.perf_counter()
            outcome = await opened[number % size].call(record, dumps_call((number,), {}))
            if outcome.unwrap() != number:
                raise AssertionError("the call gave another result than its argument")
            return time.perf_counter() - began

        async def caller(numbers: range) -> None:
            for number in numbers:
                await call(number)

        for number in range(WARM_UP):
            await call(number)
        times = [await call(number) for number in range(CALLS)]
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for start in range(AT_ONCE):
                tasks.create_task(caller(range(start, 3 * CALLS, AT_ONCE)))
        rate = 3 * CALLS / (time.perf_counter() - began)
        return _result(times, rate)


def _app() -> Any:
    from benchmarks import scaling_app  # reads the environment

    return scaling_app


@contextmanager
def _running() -> Iterator[None]:
    with _app().app.run():
        yield


def _measured(called: "Function[[int], int, int]", mapped: "Function[[int], int, int]") -> dict[str, float]:
    times = []
    for number in range(WARM_UP + CALLS):
        began = time.perf_counter()
        called.remote(number)
        times.append(time.perf_counter() - began)
    rates = []
    for _ in range(MAPS):
        began = time.perf_counter()
        if list(mapped.map(range(INPUTS))) != list(range(INPUTS)):
            raise AssertionError("the map gave other results than its inputs")
        rates.append(INPUTS / (time.perf_counter() - began))
    return _result(times[WARM_UP:], percentile(rates[1:], 50))


def _result(times: list[float], rate: float) -> dict[str, float]:
    record = embedded.find_running()
    if record is None:
        raise RuntimeError("expected a platform of this user to run, there is none")
    services = {each["pid"] for each in record["processes"] if each["role"] != "container"}
    found = [each for each in processes(record) if each.pid in services or each.pid == record["pid"]]
    memory = sum(each.memory_full_info().pss for each in found) / 1e6
    return {"call_ms": percentile(times, 50) * 1e3, "rate": rate, "platform_mb": memory}


if __name__ == "__main__":
    main()
