"""Calls: warm ones one after another and many at once, maps, cold ones."""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, percentile
from benchmarks.workloads import app, cold, noop, spread

WARM_UP = 200
CALLS = 3000
AT_ONCE = 32
INPUTS = 10_000


def warm() -> Iterator[Figure]:
    """One warm call after another, through both faces of the client."""
    with app.run():
        yield from _percentiles("warm call, blocking", _blocking(), least=2.0, aim=0.8)
    async_times, rate = asyncio.run(_async())
    yield from _percentiles("warm call, async", async_times, least=2.0, aim=0.8)
    yield Figure(
        name="calls/s, async",
        value=rate,
        unit="/s",
        better="higher",
        detail=f"{AT_ONCE} calls at once, one container",
    )


def _blocking() -> list[float]:
    times = []
    for number in range(WARM_UP + CALLS):
        began = time.perf_counter()
        noop.remote(number)
        times.append(time.perf_counter() - began)
    return times[WARM_UP:]


async def _async() -> tuple[list[float], float]:
    times = []
    async with app.run():
        for number in range(WARM_UP + CALLS):
            began = time.perf_counter()
            await noop.remote.aio(number)
            times.append(time.perf_counter() - began)

        async def caller() -> None:
            for number in range(CALLS // AT_ONCE):
                await noop.remote.aio(number)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(caller())
        rate = CALLS // AT_ONCE * AT_ONCE / (time.perf_counter() - began)
    return times[WARM_UP:], rate


def _percentiles(name: str, seconds: list[float], *, least: float, aim: float) -> Iterator[Figure]:
    detail = f"{len(seconds):,} calls, one after another"
    p50, p99 = percentile(seconds, 50) * 1e3, percentile(seconds, 99) * 1e3
    yield Figure(name=f"{name}, p50", value=p50, unit="ms", least=least, aim=aim, detail=detail)
    yield Figure(name=f"{name}, p99", value=p99, unit="ms", detail=detail)


def maps() -> Iterator[Figure]:
    """A map of no-ops, after one that warms the containers up."""
    with app.run():
        rates = []
        for _ in range(4):
            began = time.perf_counter()
            results = list(spread.map(range(INPUTS)))
            rates.append(INPUTS / (time.perf_counter() - began))
            if results != list(range(INPUTS)):
                raise AssertionError("the map gave other results than its inputs")
    yield Figure(
        name="map of no-ops",
        value=percentile(rates[1:], 50),
        unit="inputs/s",
        least=5_000,
        aim=20_000,
        better="higher",
        detail=f"{INPUTS:,} inputs, median of 3 (the first, with cold containers: {rates[0]:,.0f}/s)",
    )


def colds() -> Iterator[Figure]:
    """Calls of functions that have no container yet, in an app whose source the host has already."""
    with app.run():
        cold[0].remote()
        times = []
        for function in cold[1:]:
            began = time.perf_counter()
            function.remote()
            times.append(time.perf_counter() - began)
    yield Figure(
        name="cold call, p50",
        value=percentile(times, 50) * 1e3,
        unit="ms",
        least=150,
        aim=25,
        detail=f"{len(times)} functions, a new container each; slowest {max(times) * 1e3:.0f} ms",
    )
