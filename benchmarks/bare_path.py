"""The least that a durable call can cost: publish, store, pull, publish, store, republish, with nothing else around.

The same streams as the real ones, the same two processes, no function, no container, no services.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from afield._bus.connection import Bus, BusAddress
from afield._bus.msg import Msg
from afield._wire.streams import RESULTS, StreamSpec, input_stream
from afield_common.jetstream import JetStream
from benchmarks.figures import Figure, percentile
from benchmarks.tap import listening

NAME = "bare durable path, p50"
ROUNDS = 5
"""Each with processes of its own. Which core the kernel puts them on doubles the time or does not (0.35 or 0.7 ms in one minute),
so the best round says how fast the machine is; the median of five was 0.37 to 0.58 ms in five runs."""
CALLS = 400
WARM_UP = 100


@asynccontextmanager
async def streams(address: BusAddress) -> AsyncIterator[None]:
    """Create the streams of the bare path for the block, configured as the real ones."""
    async with Bus.open(address, name="bench-streams") as bus:
        jet = JetStream(bus)
        await jet.create_stream(
            StreamSpec(name="BENCH_IN", subjects=("benchin.>",), config=input_stream(0).config)
        )
        config = {**RESULTS.config, "republish": {"src": "benchout.>", "dest": "benchres.>"}}
        await jet.create_stream(StreamSpec(name="BENCH_OUT", subjects=("benchout.>",), config=config))
        await jet.create_consumer("BENCH_IN", {"durable_name": "bench", "ack_policy": "explicit"})
        try:
            yield
        finally:
            for name in ("BENCH_IN", "BENCH_OUT"):
                await jet.request(f"STREAM.DELETE.{name}")


def figure(record: dict[str, Any]) -> Figure:
    """Measure the bare path on a platform."""
    user, _, secret = record["operator"].partition(":")
    rounds = asyncio.run(_beside(BusAddress(record["server"], user, secret), record))
    medians = sorted(percentile(times, 50) * 1e3 for times in rounds)
    detail = f"{CALLS:,} messages there and back through two streams, best of {ROUNDS} (to {medians[-1]:.2f})"
    return Figure(name=NAME, value=medians[0], unit="ms", detail=detail)


async def _beside(address: BusAddress, record: dict[str, Any]) -> list[list[float]]:
    rounds = []
    async with streams(address):
        for number in range(ROUNDS):
            with listening(record):
                rounds.append(await measure(address, number * (WARM_UP + CALLS)))
    return rounds


async def measure(address: BusAddress, first: int = 0) -> list[float]:
    """Return the seconds of each round trip; a wiretap process must be answering.

    Messages are numbered from `first` on: no number may come twice on the same streams.
    """
    times = []
    async with Bus.open(address, name="bench-bare") as bus:
        waiting: dict[str, asyncio.Future[None]] = {}

        def arrived(msg: Msg) -> None:
            waiting.pop(msg.subject.rpartition(".")[2]).set_result(None)

        await bus.subscribe("benchres.>", arrived)
        await bus.flush()
        for number in range(first, first + WARM_UP + CALLS):
            future = waiting[str(number)] = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            bus.publisher.start(f"benchin.{number}", b"x" * 200, msg_id=f"in-{number}")
            await future
            times.append(time.perf_counter() - began)
    return times[WARM_UP:]
