"""A process that loads streams: `python -m benchmarks.stream_load WHAT URL SHARDS COUNT NAME`.

It says `ready`, waits for a line on its standard input, does its work, and prints JSON: the host's monotonic clock when it
began and when it ended, and the seconds of each round trip where there are some. SHARDS are numbers, apart by commas; WHAT is
one of

`publish`   send COUNT inputs to the streams of the shards in turn, with many under way, until each is acknowledged
`deliver`   pull and acknowledge COUNT inputs from the consumers of the shards
`answer`    answer COUNT inputs of shard 0, each with a result
`call`      send COUNT inputs to shard 0, one after another, and wait for each one's stored result
`results`   store COUNT results, each under a subject of its own
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import anyio

from afield._bus.connection import Bus, BusAddress
from afield._bus.delivery import Delivery
from afield._bus.msg import Msg
from afield._bus.pull import PullLoop
from afield._wire import subjects
from afield._wire.streams import RESULT_TTL
from afield._wire.subjects import InputSubject, Pack
from afield_common.main import uvloop_is_here

WS: Final = "main"
FUNCTION: Final = "fu-bench"
PAYLOAD: Final = b"x" * 200
"""About what a call with small arguments takes."""

ASKED: Final = 512
"""Deliveries that a puller keeps asked for."""

WARM_UP: Final = 100
"""Round trips that are not counted."""


async def main(what: str, url: str, shards: Sequence[int], count: int, name: str) -> None:
    """Connect, wait to be told, work."""
    works: dict[str, Callable[[Bus, Sequence[int], int, str], Awaitable[list[float]]]] = {
        "publish": publish,
        "deliver": deliver,
        "answer": answer,
        "call": call,
        "results": results,
    }
    async with Bus.open(BusAddress(url), name=f"bench-{name}") as bus:
        print("ready", flush=True)
        if not await anyio.to_thread.run_sync(sys.stdin.readline):
            return  # whoever started us is gone
        began = time.monotonic()
        times = await works[what](bus, shards, count, name)
        json.dump({"began": began, "ended": time.monotonic(), "times": times}, sys.stdout)


def input_subject(shard: int, name: str, number: int) -> str:
    """Return the subject of one input."""
    call_id = f"fc-{name}-{shard}-{number}"
    return str(InputSubject(shard, WS, FUNCTION, "hi", call_id, Pack(0, 1), 1))


async def publish(bus: Bus, shards: Sequence[int], count: int, name: str) -> list[float]:
    """Send inputs, with a full window under way."""
    await _send_all(
        bus, (input_subject(shards[number % len(shards)], name, number) for number in range(count)), name
    )
    return []


async def results(bus: Bus, shards: Sequence[int], count: int, name: str) -> list[float]:
    """Store results of calls, to be kept for a while."""
    calls = (f"fc-{name}-{shards[number % len(shards)]}-{number}" for number in range(count))
    wanted = (subjects.result(WS, call_id, Pack(0, 1)) for call_id in calls)
    await _send_all(bus, wanted, name, ttl=RESULT_TTL["spawn"])
    return []


async def _send_all(bus: Bus, wanted: Iterable[str], name: str, ttl: float | None = None) -> None:
    refused: list[BaseException] = []

    def ended(future: "asyncio.Future[Any]") -> None:
        if error := future.exception():
            refused.append(error)

    for number, subject in enumerate(wanted):
        await bus.publisher.ready()
        bus.publisher.start(subject, PAYLOAD, msg_id=f"{name}-{number}", ttl=ttl).add_done_callback(ended)
        if number % 64 == 0:
            await asyncio.sleep(0)  # what was started goes out at the end of a loop step
    await bus.publisher.settle()
    if refused:
        raise refused[0]


async def deliver(bus: Bus, shards: Sequence[int], count: int, _: str) -> list[float]:
    """Take inputs off the streams, as quickly as they come."""
    done, left = asyncio.get_running_loop().create_future(), count
    loops: list[PullLoop] = []

    def take(loop: list[PullLoop], delivery: Delivery) -> None:
        nonlocal left
        delivery.ack()
        left -= 1
        if left == 0:
            done.set_result(None)
        if loop[0].outstanding <= ASKED // 2:
            loop[0].demand(ASKED // 2)

    async with anyio.create_task_group() as tasks:
        for shard in shards:
            box: list[PullLoop] = []
            stream, consumer = subjects.input_stream(shard), subjects.input_consumer(WS, FUNCTION, "hi")
            box.append(PullLoop(bus, stream, consumer, lambda delivery, box=box: take(box, delivery)))  # type: ignore[misc]
            box[0].demand(ASKED)
            loops.append(box[0])
            await tasks.start(box[0].run)
        await done
        await bus.flush()
        tasks.cancel_scope.cancel()
    return []


async def answer(bus: Bus, _: Sequence[int], count: int, _name: str) -> list[float]:
    """Answer each input with a result, as a worker does: the result is stored before the input is acknowledged."""
    done, left = asyncio.get_running_loop().create_future(), count + WARM_UP

    def stored(delivery: Delivery) -> None:
        nonlocal left
        delivery.ack()
        left -= 1
        if left == 0:
            done.set_result(None)

    def respond(delivery: Delivery) -> None:
        call_id = subjects.parse_input(delivery.subject).call_id
        subject = subjects.result(WS, call_id, Pack(0, 1))
        ack = bus.publisher.start(subject, delivery.data, msg_id=f"{call_id}-r", ttl=RESULT_TTL["call"])
        ack.add_done_callback(lambda _: stored(delivery))

    async with anyio.create_task_group() as tasks:
        loop = PullLoop(bus, subjects.input_stream(0), subjects.input_consumer(WS, FUNCTION, "hi"), respond)
        loop.demand(count + WARM_UP)
        await tasks.start(loop.run)
        await done
        await bus.flush()
        tasks.cancel_scope.cancel()
    return []


async def call(bus: Bus, _: Sequence[int], count: int, name: str) -> list[float]:
    """Return the seconds from the send of an input to its stored result, one after another."""
    waiting: dict[str, asyncio.Future[None]] = {}

    def arrived(msg: Msg) -> None:
        future = waiting.pop(subjects.parse_result(msg.subject).call_id, None)
        if future is not None:
            future.set_result(None)

    await bus.subscribe(subjects.stored_results_of_session(WS, name), arrived)
    await bus.flush()
    times = []
    for number in range(count + WARM_UP):
        subject = input_subject(0, name, number)
        future = waiting[subjects.parse_input(subject).call_id] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        bus.publisher.start(subject, PAYLOAD, msg_id=f"{name}-{number}")
        await future
        times.append(time.perf_counter() - began)
    return times[WARM_UP:]


if __name__ == "__main__":
    what, url, shards, count, name = sys.argv[1:]
    anyio.run(
        main,
        what,
        url,
        [int(shard) for shard in shards.split(",")],
        int(count),
        name,
        backend_options={"use_uvloop": uvloop_is_here()},
    )
