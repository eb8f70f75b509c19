"""Pulling deliveries."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from afield._bus import Bus, ConsumerGoneError
from afield._bus.delivery import Delivery
from afield._bus.pull import PullLoop
from support.nats import NatsServer
from support.streams import api, make_queue, make_stream, stored
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio


class Puller:
    """A running pull loop and what it delivered."""

    def __init__(self, bus: Bus, stream: str, consumer: str, **options: float) -> None:
        self.got: list[Delivery] = []
        self.loop = PullLoop(bus, stream, consumer, self.got.append, **options)

    @property
    def data(self) -> list[bytes]:
        """The payloads, in the order of their arrival."""
        return [delivery.data for delivery in self.got]


@asynccontextmanager
async def pulling(bus: Bus, stream: str, consumer: str, **options: float) -> AsyncIterator[Puller]:
    """A running pull loop; stopped at the end."""
    puller = Puller(bus, stream, consumer, **options)
    async with anyio.create_task_group() as tasks:
        await tasks.start(puller.loop.run)
        yield puller
        tasks.cancel_scope.cancel()


async def fill(bus: Bus, stream: str, count: int, *, first: int = 0) -> None:
    """Publish numbered messages."""
    for i in range(first, first + count):
        await bus.publisher.publish(f"{stream}.{i}", b"%d" % i, msg_id=f"{stream}.{i}")


async def until_empty(bus: Bus, stream: str) -> None:
    """Wait until nothing is left; acks have no answer."""

    async def empty() -> bool:
        return await stored(bus, stream) == 0

    await until_true(empty)


async def consumer_info(bus: Bus, stream: str) -> dict[str, int]:
    """The numbers of the stream's consumer."""
    return await api(bus, f"CONSUMER.INFO.{stream}.worker")


async def test_exactly_the_demand_is_delivered(bus: Bus) -> None:
    """As many messages come as were asked for, over several requests, in order, and no more."""
    stream, consumer = await make_queue(bus)
    await fill(bus, stream, 10)
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(2)
        puller.loop.demand(3)
        await until(lambda: len(puller.got) == 5)
        await bus.flush()
        assert puller.data == [b"0", b"1", b"2", b"3", b"4"]
        assert puller.loop.outstanding == 0
        assert (await consumer_info(bus, stream))["num_pending"] == 5


async def counted(bus: Bus, stream: str, messages: int) -> bool:
    """Tell whether the consumer has heard of so many messages: what is stored is told to it a moment later."""
    return (await consumer_info(bus, stream))["num_pending"] == messages


async def test_delivery_tells_of_itself(bus: Bus) -> None:
    """A delivery knows its subject, sequence, headers, how often it came and how many wait behind it."""
    stream, consumer = await make_queue(bus)
    await fill(bus, stream, 3)
    await until_true(lambda: counted(bus, stream, 3))
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(1)
        await until(lambda: puller.got)
        first = puller.got[0]
        assert (first.subject, first.seq, first.num_delivered, first.pending) == (f"{stream}.0", 1, 1, 2)
        assert first.headers["Nats-Msg-Id"] == f"{stream}.0"


async def test_ack_removes_nak_returns_term_drops(bus: Bus) -> None:
    """Acknowledged and terminated messages leave the queue, a refused one comes again."""
    stream, consumer = await make_queue(bus)
    await fill(bus, stream, 2)
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(3)
        await until(lambda: len(puller.got) == 2)
        puller.got[0].nak()
        puller.got[1].term()
        await until(lambda: len(puller.got) == 3)
        assert (puller.got[2].data, puller.got[2].num_delivered) == (b"0", 2)
        puller.got[2].ack()
        puller.got[2].ack()
        await until_empty(bus, stream)


async def test_delayed_nak_waits(bus: Bus) -> None:
    """A message sent back with a delay comes again, but not before messages that wait."""
    stream, consumer = await make_queue(bus)
    await fill(bus, stream, 2)
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(1)
        await until(lambda: puller.got)
        puller.got[0].nak(delay=0.5)
        puller.loop.demand(2)
        await until(lambda: len(puller.got) == 3)
        assert puller.data == [b"0", b"1", b"0"]


async def test_progress_keeps_a_message(bus: Bus) -> None:
    """While progress is reported, an unacknowledged message is not delivered again; afterwards it is."""
    stream, consumer = await make_queue(bus, ack_wait=400_000_000)
    await fill(bus, stream, 1)
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(2)
        await until(lambda: puller.got)
        for _ in range(12):
            await anyio.sleep(0.1)
            puller.got[0].progress()
        assert len(puller.got) == 1
        await until(lambda: len(puller.got) == 2)


async def test_pull_goes_on_after_a_restart(own_server: NatsServer, own_bus: Bus) -> None:
    """What was still to come is asked for again as soon as the server is back, long before the request expires."""
    stream, consumer = await make_queue(own_bus)
    await fill(own_bus, stream, 1)
    async with pulling(own_bus, stream, consumer, expires=300, idle_heartbeat=100) as puller:
        puller.loop.demand(3)
        await until(lambda: puller.got)
        puller.got[0].ack()
        await own_bus.flush()
        await anyio.to_thread.run_sync(own_server.restart)
        await fill(own_bus, stream, 4, first=1)
        await until(lambda: len(puller.got) == 3)
        await own_bus.flush()
        assert puller.data == [b"0", b"1", b"2"]
        assert puller.loop.outstanding == 0


async def test_demand_without_a_server_is_met_later(own_server: NatsServer, own_bus: Bus) -> None:
    """Demand made while the server is away leads to deliveries when it is back, and acks made meanwhile count."""
    stream, consumer = await make_queue(own_bus)
    await fill(own_bus, stream, 2)
    async with pulling(own_bus, stream, consumer) as puller:
        puller.loop.demand(1)
        await until(lambda: puller.got)
        own_server.kill9()
        await until(lambda: not own_bus.connected)
        puller.got[0].ack()
        puller.loop.demand(1)
        await anyio.to_thread.run_sync(own_server.start)
        await until(lambda: len(puller.got) == 2)
        assert puller.data == [b"0", b"1"]
        puller.got[1].ack()
        await until_empty(own_bus, stream)


async def test_broken_connection_brings_no_more_than_the_demand(bus: Bus) -> None:
    """When only the connection breaks, the server's old requests are void: no more comes than was asked for."""
    stream, consumer = await make_queue(bus)
    async with pulling(bus, stream, consumer) as puller:
        puller.loop.demand(2)
        await bus.flush()
        reconnected = anyio.Event()
        bus.on_reconnect(reconnected.set)
        await bus.nc.force_reconnect()
        await reconnected.wait()
        await fill(bus, stream, 6)
        await until(lambda: len(puller.got) >= 2)
        await bus.flush()
        assert puller.data == [b"0", b"1"]


async def test_expired_pull_is_renewed(bus: Bus) -> None:
    """A request that ran out without a message is followed by the next one."""
    stream, consumer = await make_queue(bus)
    async with pulling(bus, stream, consumer, expires=0.5, idle_heartbeat=0.2) as puller:
        puller.loop.demand(2)
        await anyio.sleep(1.2)
        await fill(bus, stream, 3)
        await until(lambda: len(puller.got) == 2)
        await bus.flush()
        assert len(puller.got) == 2


async def test_lost_requests_are_noticed_by_their_silence(bus: Bus) -> None:
    """When the server has forgotten a request, two missed heartbeats lead to a new one."""
    stream, consumer = await make_queue(bus)
    async with pulling(bus, stream, consumer, expires=60, idle_heartbeat=0.3) as puller:
        subscription = puller.loop._subscription
        assert subscription is not None
        bus.nc.close_inline(subscription.sid)  # the server drops requests whose inbox is gone
        puller.loop.demand(1)
        await fill(bus, stream, 1)
        await until(lambda: puller.got)


async def test_missing_consumer_ends_the_loop(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulling from a consumer that does not exist raises ConsumerGoneError after a grace."""
    monkeypatch.setattr("afield._bus.pull.GONE_AFTER", 0.3)
    stream = await make_stream(bus, retention="workqueue")
    loop = PullLoop(bus, stream, "nobody", lambda _: None)
    loop.demand(1)
    with anyio.fail_after(10):
        with pytest.raises(ConsumerGoneError, match="nobody"):
            await loop.run()


async def test_deleted_consumer_ends_the_loop(bus: Bus) -> None:
    """Deleting the consumer under a waiting pull raises ConsumerGoneError at once."""
    stream, consumer = await make_queue(bus)
    loop = PullLoop(bus, stream, consumer, lambda _: None)
    loop.demand(1)

    async def remove() -> None:
        await until(lambda: loop._requests)
        await bus.flush()
        await api(bus, f"CONSUMER.DELETE.{stream}.{consumer}")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(remove)
            with pytest.raises(ConsumerGoneError, match="Consumer Deleted"):
                await loop.run()


async def test_recreated_consumer_within_the_grace_is_found(bus: Bus) -> None:
    """A consumer that appears within the grace is pulled from."""
    stream = await make_stream(bus, retention="workqueue")
    await fill(bus, stream, 1)
    async with pulling(bus, stream, "worker") as puller:
        puller.loop.demand(1)
        await bus.flush()
        config = {"durable_name": "worker", "ack_policy": "explicit"}
        await api(bus, f"CONSUMER.DURABLE.CREATE.{stream}.worker", {"stream_name": stream, "config": config})
        await until(lambda: puller.got)


async def test_too_many_waiting_pulls_are_retried(bus: Bus) -> None:
    """Requests beyond the consumer's max_waiting (which the server drops without a word) are repeated."""
    stream, consumer = await make_queue(bus, max_waiting=2)
    async with pulling(bus, stream, consumer, idle_heartbeat=0.3) as puller:
        for _ in range(5):
            puller.loop.demand(1)
        await bus.flush()
        await fill(bus, stream, 5)
        await until(lambda: len(puller.got) == 5)


async def test_drain_loses_nothing(bus: Bus) -> None:
    """Draining hands over what was on its way; what could not reach us any more is at once there for others."""
    stream, consumer = await make_queue(bus, ack_wait=300_000_000_000)
    puller = Puller(bus, stream, consumer)
    async with anyio.create_task_group() as tasks:
        await tasks.start(puller.loop.run)
        puller.loop.demand(1000)
        futures = [
            bus.publisher.start(f"{stream}.{i}", b"%d" % i, msg_id=f"{stream}.{i}") for i in range(2000)
        ]
        await until(lambda: puller.got)
        with anyio.fail_after(10):
            await puller.loop.drain()
        await asyncio.gather(*futures)
    async with pulling(bus, stream, consumer) as other:
        other.loop.demand(2000 - len(puller.got))
        await until(lambda: other.loop.outstanding == 0)
    assert {int(d) for d in puller.data + other.data} == set(range(2000))


async def test_bad_demand_is_an_error(bus: Bus) -> None:
    """A demand below one, and an expiry shorter than two heartbeats, are refused."""
    with pytest.raises(ValueError, match="at least one"):
        PullLoop(bus, "S", "c", print).demand(0)
    with pytest.raises(ValueError, match="expires"):
        PullLoop(bus, "S", "c", print, expires=1, idle_heartbeat=1)


async def test_pulls_are_bounded_by_free_slots_and_served_in_turn(bus: Bus) -> None:
    """Two loops on one consumer share its messages, each getting no more than it asked for."""
    stream, consumer = await make_queue(bus)
    async with pulling(bus, stream, consumer) as one, pulling(bus, stream, consumer) as two:
        one.loop.demand(3)
        two.loop.demand(3)
        await bus.flush()
        await fill(bus, stream, 8)
        await until(lambda: len(one.got) + len(two.got) == 6)
        assert (len(one.got), len(two.got)) == (3, 3)
    assert json.loads(one.got[0].data) + json.loads(two.got[0].data) == 1
