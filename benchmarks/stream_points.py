"""The points of `benchmarks.streams`: each on servers of its own, in a folder that goes with it."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from afield._bus.connection import Bus, BusAddress
from afield._wire.streams import RESULTS, StreamSpec, consumer_config, input_stream
from afield._wire.subjects import LANES, Lane
from afield_common.jetstream import JetStream
from benchmarks.figures import percentile
from benchmarks.stream_load import FUNCTION, WS
from benchmarks.stream_runs import Load, Ran, run
from benchmarks.stream_servers import Server, leaf_of, running

Row = dict[str, float]
"""Figures of one point, by name."""

BEGIN: Final = 2_000
"""Messages of a run that is not counted, before one that is."""

AT_ONCE: Final = 32
"""Consumers that are created at the same time, as a registry does."""

ONE_BY_ONE: Final = 50
"""Consumers that are created one after another when the others are there."""

STOPPED_UP_TO: Final = 1_000
"""Functions up to which an orderly stop is measured: beyond, it takes minutes."""


def shards(streams: int, publishers: int, sync: str, count: int) -> Row:
    """Publish inputs to so many streams from so many processes, then take them all off with one.

    A single publisher goes through all streams; of several each keeps to one, as a client that calls one function does.
    """
    with _folder() as folder, running(folder, sync=sync) as (server, *_):
        flush = flush_ms(folder)
        asyncio.run(_prepare(server, streams))
        _publish(server, streams, publishers, BEGIN)
        _take(server, streams, BEGIN)
        before = server.processor_s
        published = _publish(server, streams, publishers, count)
        between = server.processor_s
        delivered = _take(server, streams, count)
        return {
            "flush_ms": flush,
            "published": published.rate,
            "published_us": (between - before) / published.messages * 1e6,
            "delivered": delivered.rate,
            "delivered_us": (server.processor_s - between) / delivered.messages * 1e6,
        }


def _publish(server: Server, streams: int, publishers: int, count: int) -> Ran:
    each, mark = count // publishers, f"n{count}"  # no message is a duplicate of one of an earlier run

    def chosen(publisher: int) -> list[int]:
        return list(range(streams)) if publishers == 1 else [publisher % streams]

    return run([Load("publish", server.url, chosen(n), each, f"{mark}p{n}") for n in range(publishers)])


def _take(server: Server, streams: int, count: int) -> Ran:
    # One process: of several, none could know when the last message is gone.
    return run([Load("deliver", server.url, range(streams), count, "d")])


def consumers(functions: int, streams: int = 1) -> Row:
    """Give so many input streams the consumers of so many functions; list them; kill and stop the server."""
    with _folder() as folder, running(folder) as (server, *_):
        asyncio.run(_prepare(server, streams))
        before = server.resident_mb
        row = asyncio.run(_fill(server, functions, streams))
        row["memory_mb"] = server.resident_mb - before
        row["restart_s"] = _restarted(server)
        row["after_mb"] = server.resident_mb
        if functions <= STOPPED_UP_TO:
            began = time.monotonic()
            server.stop()
            row["stop_s"] = time.monotonic() - began
        return row


def results(count: int) -> Row:
    """Store so many results; kill and start the server."""
    with _folder() as folder, running(folder) as (server, *_):
        asyncio.run(_prepare(server, 1))
        before = server.resident_mb
        stored = run([Load("results", server.url, [0], count // 2, name) for name in ("r1", "r2")])
        row = {"stored": stored.rate, "memory_mb": server.resident_mb - before}
        row["disk_mb"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        row["restart_s"] = _restarted(server)
        row["after_mb"] = server.resident_mb
        row["get_ms"] = asyncio.run(_get_ms(server, count))
        return row


def replicas(servers: int, copies: int, sync: str, count: int, *, leaf: bool = False) -> Row:
    """Round trips and publishes on so many servers, with so many copies of each stream; `leaf`: through a leaf node."""
    with _folder() as folder, running(folder, servers=servers, sync=sync) as made:
        asyncio.run(_prepare(made[0], 1, copies))
        if leaf:
            with leaf_of(folder, made[0]) as node:
                return _replicated(folder, made, node.url, count)
        return _replicated(folder, made, ",".join(each.url for each in made), count)


def _replicated(folder: Path, made: list[Server], url: str, count: int) -> Row:
    flush, calls = flush_ms(folder), count // 50
    ran = run([Load("answer", url, [0], calls, "a"), Load("call", url, [0], calls, "c")])
    run([Load("publish", url, [0], BEGIN, "w")])
    before = sum(each.processor_s for each in made)
    published = run([Load("publish", url, [0], count, "p")])
    taken = sum(each.processor_s for each in made) - before
    return {
        "flush_ms": flush,
        "call_ms": percentile(ran.times, 50) * 1e3,
        "call_p99_ms": percentile(ran.times, 99) * 1e3,
        "published": published.rate,
        "published_us": taken / count * 1e6,
    }


def flush_ms(folder: Path) -> float:
    """Return the milliseconds that the disk takes to flush 4 KiB, p50: it varies with what else the disk has to do."""
    times = []
    with open(folder / "flushed", "wb", buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return percentile(times, 50) * 1e3


# -- inside -----------------------------------------------------------------------------------------


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="afield-bench-") as name:
        yield Path(name)


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[tuple[Bus, JetStream]]:
    async with Bus.open(BusAddress(server.url), name="bench") as bus:
        yield bus, JetStream(bus)


async def _prepare(server: Server, streams: int, copies: int = 1) -> None:
    """Create the streams of inputs and results, and one function's consumers in each shard."""
    async with _connected(server) as (_, jet):
        for spec in (*map(input_stream, range(streams)), RESULTS):
            await jet.create_stream(_copied(spec, copies))
        for shard in range(streams):
            await jet.create_consumer(f"IN_{shard}", consumer_config(WS, FUNCTION, shard, "hi"))


def _copied(spec: StreamSpec, copies: int) -> StreamSpec:
    return replace(spec, config={**spec.config, "num_replicas": copies})


async def _fill(server: Server, functions: int, streams: int) -> Row:
    """Create the consumers of all functions but one, which has them; list those of all streams."""
    times: list[float] = []
    async with _connected(server) as (_, jet):
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def create(name: str, shard: int, lane: Lane) -> None:
            async with limit:
                await jet.create_consumer(f"IN_{shard}", consumer_config(WS, name, shard, lane))

        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for number in range(functions - 1):
                for lane in LANES:
                    tasks.start_soon(create, f"fu-{number}", number % streams, lane)
        created = time.perf_counter() - began
        for number in range(ONE_BY_ONE):
            began = time.perf_counter()
            await create(f"fu-last{number}", number % streams, "hi")
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        listed = [state for shard in range(streams) async for state in jet.consumers(f"IN_{shard}")]
        list_ms = (time.perf_counter() - began) * 1e3
    return {
        "consumers": len(listed),
        "all_s": created,
        "one_ms": percentile(times, 50) * 1e3,
        "list_ms": list_ms,
    }


def _restarted(server: Server) -> float:
    """Kill a server, start it again, and return the seconds until it is healthy."""
    server.kill()
    began = time.monotonic()
    server.start().wait_ready()
    return time.monotonic() - began


async def _get_ms(server: Server, count: int) -> float:
    """Return the milliseconds of a direct get of one result, p50."""
    times = []
    async with _connected(server) as (bus, _):
        for number in range(0, count // 2, max(1, count // 400)):
            began = time.perf_counter()
            await bus.request(f"$JS.API.DIRECT.GET.RESULTS.out.0.{WS}.r1.fc-r1-0-{number}.0-1")
            times.append(time.perf_counter() - began)
    return percentile(times, 50) * 1e3
