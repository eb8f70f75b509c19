"""Traps of JetStream, with the platform's own streams and consumers: each test fails if we had fallen into one.

Those that concern the way in which the server is talked to are in tests/integration/bus.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from afield._bus import Bus, StreamFullError
from afield._bus.delivery import Delivery
from afield._bus.pull import PullLoop
from afield._wire.streams import assets, consumer_config, input_stream
from afield._wire.subjects import LANES, Lane
from afield_common.jetstream import JetStream
from afield_common.store import ensure_assets
from afield_scheduler import demand
from support.fleet import function
from support.nats import NatsServer
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

FUNCTION = "fu-1"


@pytest.fixture
async def jet(bus: Bus) -> JetStream:
    """The platform's streams."""
    await ensure_assets(bus, 1)
    return JetStream(bus)


async def publish(bus: Bus, numbers: range, lane: Lane = "lo") -> None:
    """Publish inputs."""
    for number in numbers:
        subject = f"in.0.main.{FUNCTION}.{lane}.fc-s-0-1.{number}-1.1"
        await bus.publisher.publish(subject, str(number).encode(), msg_id=f"{lane}{number}")


@asynccontextmanager
async def pulled(bus: Bus, jet: JetStream, count: int, lane: Lane = "lo") -> AsyncIterator[list[Delivery]]:
    """What comes of a demand for `count` inputs of a lane."""
    config = consumer_config("main", FUNCTION, 0, lane)
    await jet.create_consumer("IN_0", config)
    found: list[Delivery] = []
    loop = PullLoop(bus, "IN_0", config["durable_name"], found.append)
    loop.demand(count)
    async with anyio.create_task_group() as tasks:
        await tasks.start(loop.run)
        yield found
        tasks.cancel_scope.cancel()


def came(found: list[Delivery], times: int) -> bool:
    """Tell whether so many deliveries have come."""
    return len(found) == times


async def test_inputs_wait_for_a_consumer_that_is_not_there_yet(bus: Bus, jet: JetStream) -> None:
    """A stream that keeps what somebody is interested in would drop them: a function may have no consumer for a while."""
    await publish(bus, range(3))
    async with pulled(bus, jet, 3) as found:
        await until(lambda: len(found) == 3)


async def test_inputs_outlive_their_consumer(bus: Bus, jet: JetStream) -> None:
    """One that expired unused, or was deleted, takes nothing with it."""
    await publish(bus, range(2))
    await jet.create_consumer("IN_0", consumer_config("main", FUNCTION, 0, "lo"))
    assert await jet.delete_consumer("IN_0", f"main_{FUNCTION}_lo")
    async with pulled(bus, jet, 2) as found:
        await until(lambda: len(found) == 2)


async def test_what_waits_for_its_retry_holds_up_nobody(bus: Bus, jet: JetStream) -> None:
    """With the server's default of 1000 unacknowledged deliveries the whole function would stand still."""
    await publish(bus, range(1100))
    async with pulled(bus, jet, 1101) as found:
        await until(lambda: len(found) == 1100)
        for delivery in found:
            delivery.nak(3600)
        await publish(bus, range(1100, 1101))
        await until(lambda: len(found) == 1101)
    assert found[-1].data == b"1100"


async def test_what_was_sent_back_with_a_delay_outlives_a_kill_of_the_server(
    server: NatsServer, bus: Bus, jet: JetStream
) -> None:
    """It comes again after its delay; or, if the server had not written it down yet, after the ack wait.

    So the time before which a retry must not start stands in its message, too.
    """
    await publish(bus, range(1))
    async with pulled(bus, jet, 10) as found:
        await until(lambda: found)
        found[0].nak(4)
        await bus.flush()
        server.restart()
        await until(lambda: len(found) > 1, timeout=30.0)
        assert found[1].subject == found[0].subject


async def test_a_delivery_that_fails_for_ever_stays_deliverable(bus: Bus, jet: JetStream) -> None:
    """With max_deliver it would lie in the stream for ever, and nobody would get it any more."""
    await publish(bus, range(1))
    async with pulled(bus, jet, 30) as found:
        for times in range(1, 30):
            await until(partial(came, found, times))
            found[-1].nak()
        await until(lambda: len(found) == 30)
    assert found[-1].num_delivered == 30


async def test_a_full_queue_keeps_what_it_has(bus: Bus) -> None:
    """With discard: old the oldest inputs would go without a word; the newest are refused instead, by a name of its own."""
    spec = input_stream(0, max_bytes=20_000)
    await JetStream(bus).create_stream(spec)
    with pytest.raises(StreamFullError):
        await publish(bus, range(1000))
    state = (await JetStream(bus).request("STREAM.INFO.IN_0"))["state"]
    assert state["messages"] == state["last_seq"] > 10
    assert state["first_seq"] == 1


async def test_a_single_call_overtakes_a_big_map(bus: Bus, jet: JetStream) -> None:
    """One queue a function would deliver in the order of arrival; each lane has its own."""
    await publish(bus, range(500), "lo")
    await publish(bus, range(1), "hi")
    async with pulled(bus, jet, 1, "hi") as found:
        await until(lambda: found)
        assert ".hi." in found[0].subject


async def test_a_stale_ack_is_for_the_message(bus: Bus, jet: JetStream) -> None:
    """Acks count by message: who finished first removes it also for the one who got it again, and nothing is left."""
    await publish(bus, range(1))
    config = {**consumer_config("main", FUNCTION, 0, "lo"), "ack_wait": 500_000_000}
    await jet.create_consumer("IN_0", config)
    found: list[Delivery] = []
    loop = PullLoop(bus, "IN_0", config["durable_name"], found.append)
    loop.demand(2)
    async with anyio.create_task_group() as tasks:
        await tasks.start(loop.run)
        await until(lambda: len(found) == 2)
        found[0].ack()

        async def empty() -> bool:
            return not (await jet.subjects("IN_0", "in.>")).subjects

        await until_true(empty)
        found[1].ack()  # says nothing to anybody
        tasks.cancel_scope.cancel()


async def test_looking_at_demand_costs_a_list_not_a_request_each(bus: Bus, jet: JetStream) -> None:
    """Many functions are looked at by one list of consumers: to ask for each of them would keep the server busy."""
    many = [function(f"fu-{number}") for number in range(40)]
    for each in many:
        for lane in LANES:
            config: dict[str, Any] = consumer_config("main", each.function_id, 0, lane)
            await jet.create_consumer("IN_0", config)
    asked: list[str] = []
    await bus.subscribe("$JS.API.CONSUMER.>", lambda msg: asked.append(msg.subject))
    await demand.look(jet, many)
    assert asked == ["$JS.API.CONSUMER.LIST.IN_0"]


async def test_all_streams_are_of_the_kinds_that_lose_nothing(bus: Bus, jet: JetStream) -> None:
    """Inputs and results refuse rather than drop, in files; only logs and events may go when they are old or many."""
    for spec in assets(1):
        config = (await jet.request(f"STREAM.INFO.{spec.name}"))["config"]
        drops = config["discard"] == "old" and config["max_bytes"] > 0
        assert drops == (spec.name in ("LOGS", "EVENTS")), json.dumps(config)
        assert config["storage"] == "file"
        assert config["retention"] != "interest"
