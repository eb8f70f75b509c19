"""The bus and the platform's streams on three servers with three replicas."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from afield._bus import Bus, BusAddress
from afield._bus import batch as batch_module
from afield._bus.batch import BatchMessage, publish_batch
from afield._bus.blobs import BlobStore
from afield._bus.delivery import Delivery
from afield._bus.direct import get_last
from afield._bus.feed import Feed
from afield._bus.kv import Bucket, Entry
from afield._bus.leaders import read_last
from afield._bus.pull import PullLoop
from afield._wire.streams import assets, consumer_config
from afield_common.jetstream import JetStream
from afield_common.store import ensure_assets
from support.cluster import NatsCluster, Node
from support.waiting import until

pytestmark = pytest.mark.anyio

INPUT = "in.0.main.fu-1.hi.fc-s-0-1.{}-1.1"


@pytest.fixture
async def jet(bus: Bus) -> JetStream:
    """The platform's streams, with three replicas."""
    await ensure_assets(bus, 1, replicas=3)
    return JetStream(bus)


async def leader(cluster: NatsCluster, jet: JetStream, stream: str) -> Node:
    """The server that leads a stream."""
    name = (await jet.request(f"STREAM.INFO.{stream}"))["cluster"]["leader"]
    return next(node for node in cluster.nodes if node.name == name)


@asynccontextmanager
async def without(cluster: NatsCluster, node: Node) -> AsyncIterator[None]:
    """Kill a server; start it again at the end of the block."""
    node.kill9()
    try:
        yield
    finally:
        node.start()
        await asyncio.to_thread(cluster.wait_ready)


@asynccontextmanager
async def connected_to(node: Node) -> AsyncIterator[Bus]:
    """A connection to one server."""
    async with Bus.open(BusAddress(node.url), name="one") as bus:
        yield bus


async def test_everything_has_three_replicas(bus: Bus, jet: JetStream) -> None:
    """Streams and buckets, and the consumers on them; asking again changes nothing."""
    for spec in assets(1):
        info = await jet.request(f"STREAM.INFO.{spec.name}")
        assert info["config"]["num_replicas"] == 3, spec.name
        assert len(info["cluster"]["replicas"]) == 2, spec.name
    assert await ensure_assets(bus, 1, replicas=3) == ()
    await jet.create_consumer("IN_0", consumer_config("main", "fu-r", 0, "hi"))
    info = await jet.request("CONSUMER.INFO.IN_0.main_fu-r_hi")
    assert len(info["cluster"]["replicas"]) == 2


async def test_what_was_acknowledged_is_there_after_the_loss_of_a_leader(
    cluster: NatsCluster, bus: Bus, jet: JetStream
) -> None:
    """Publishes and batches that are under way when the stream's leader is killed are stored, once."""
    first = [INPUT.format(number) for number in range(50)]
    batch = [BatchMessage(INPUT.format(number), b"b", f"b{number}") for number in range(50, 150)]
    async with without(cluster, await leader(cluster, jet, "IN_0")):
        async with asyncio.TaskGroup() as tasks:
            for number, subject in enumerate(first):
                tasks.create_task(bus.publisher.publish(subject, b"x", msg_id=f"x{number}"))
            tasks.create_task(publish_batch(bus, batch))
        found = (await jet.subjects("IN_0", "in.0.main.fu-1.>")).subjects
        assert found == dict.fromkeys((*first, *(m.subject for m in batch)), 1)
    await jet.purge("IN_0", ">")


async def test_who_loses_a_server_goes_to_another(cluster: NatsCluster, jet: JetStream) -> None:
    """The addresses of all are known; requests and subscriptions go on."""
    async with Bus.open(BusAddress(cluster.url), name="wanderer") as bus:
        heard: list[bytes] = []
        await bus.subscribe("news", lambda msg: heard.append(msg.data))
        for node in cluster.nodes:
            name = bus.nc._server_info["server_name"]
            if node.name == name:
                async with without(cluster, node):
                    await bus.flush(30.0)
                    assert bus.nc._server_info["server_name"] != name
                    bus.send("news", b"still here")
                    await until(lambda: heard)
                break


async def test_pulls_go_on_after_the_loss_of_a_leader(cluster: NatsCluster, bus: Bus, jet: JetStream) -> None:
    """Requests die with the server that leads their consumer; the silence is noticed."""
    await jet.create_consumer("IN_0", consumer_config("main", "fu-p", 0, "hi"))
    seen: list[Delivery] = []
    loop = PullLoop(bus, "IN_0", "main_fu-p_hi", seen.append)
    loop.demand(10)
    async with anyio.create_task_group() as tasks:
        await tasks.start(loop.run)
        async with without(cluster, await leader(cluster, jet, "IN_0")):
            subject = "in.0.main.fu-p.hi.fc-s-0-2.0-1.1"
            await bus.publisher.publish(subject, b"late", msg_id="late")
            await until(lambda: seen, timeout=40.0)
            seen[0].ack()
        tasks.cancel_scope.cancel()


async def test_a_bucket_is_read_as_it_was_written(cluster: NatsCluster, jet: JetStream) -> None:
    """Whatever servers writer and reader are connected to: each read sees the write before it."""
    first, second, third = cluster.nodes
    async with connected_to(first) as a, connected_to(second) as b, connected_to(third) as c:
        buses = [a, b, c]
        for number in range(60):
            writer, reader = Bucket(buses[number % 3], "REG"), Bucket(buses[(number + 1) % 3], "REG")
            key = f"k{number}"
            revision = await writer.put(key, b"1")
            entry = await reader.get(key)
            assert entry is not None
            assert entry.revision == revision
            await reader.update(key, b"2", revision)
            newest = await read_last(a, "KV_REG", writer.subject(key))
            assert newest is not None
            assert newest.data == b"2"


async def test_direct_gets_may_be_stale_where_reads_by_the_leader_are_not(
    cluster: NatsCluster, jet: JetStream
) -> None:
    """A server that is behind answers direct gets; what must see its own writes asks the leader."""
    first, second, third = cluster.nodes
    stale = 0
    async with connected_to(first) as a, connected_to(second) as b, connected_to(third) as c:
        buses = [a, b, c]
        with anyio.fail_after(60):  # servers take part in direct gets some seconds after the stream was made
            for number in itertools.count():
                bucket, reader = Bucket(buses[number % 3], "REG"), buses[(number + 1) % 3]
                await bucket.put(f"s{number}", b"")
                subject = bucket.subject(f"s{number}")
                stale += await get_last(reader, bucket.stream, subject) is None
                assert await read_last(reader, bucket.stream, subject) is not None
                if stale >= 3:
                    break


async def test_a_blob_is_found_as_soon_as_it_is_stored(cluster: NatsCluster, jet: JetStream) -> None:
    """Also through a server that keeps another copy, which may be behind."""
    first, second, _ = cluster.nodes
    async with connected_to(first) as here, connected_to(second) as there:
        for number in range(20):
            data = bytes([number]) * 700_000
            await BlobStore(here, "TMP").put(f"blob{number}", [data])
            assert await BlobStore(there, "TMP").get(f"blob{number}") == data


async def test_a_feed_tells_of_no_deletion_that_was_none(cluster: NatsCluster, jet: JetStream) -> None:
    """While keys are written, snapshots are taken from servers that may be behind."""
    first, second, _ = cluster.nodes
    gone: list[str] = []
    seen: dict[str, Entry] = {}
    async with connected_to(first) as here, connected_to(second) as there:
        bucket = Bucket(here, "REG")
        feed = Feed(Bucket(there, "REG"), "f.>", lambda e: seen.update({e.key: e}), gone.append)
        async with feed:
            for number in range(100):
                await bucket.put(f"f.{number}", b"")
                feed._mark_stale()
            await bucket.delete("f.7")
            await until(lambda: len(seen) == 100 and gone)
            feed._mark_stale()
    assert gone == ["f.7"]


async def test_a_key_is_written_while_a_leader_is_elected(
    cluster: NatsCluster, bus: Bus, jet: JetStream
) -> None:
    """The write waits for the election, and takes effect once."""
    bucket = Bucket(bus, "REG", timeout=30.0)
    revision = await bucket.put("held", b"0")
    async with without(cluster, await leader(cluster, jet, "KV_REG")):
        await bucket.update("held", b"1", revision)
        entry = await bucket.get("held")
        assert entry is not None
        assert entry.data == b"1"


async def test_a_leader_that_is_cut_off_is_waited_for(
    cluster: NatsCluster, bus: Bus, jet: JetStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that it has proposed and nobody agreed to is refused when it is sent again; later it is known, or taken."""
    node = await leader(cluster, jet, "IN_0")
    others = [each for each in cluster.nodes if each is not node]
    subject = "in.0.main.fu-q.hi.fc-s-0-3.{}-1.1"
    async with connected_to(node) as here:
        here.publisher._ack_timeout = 0.2
        monkeypatch.setattr(batch_module, "ATTEMPT_TIMEOUT", 0.2)
        for other in others:
            other.freeze()
        try:
            async with asyncio.TaskGroup() as tasks:
                one = here.publisher.publish(subject.format(0), b"x", msg_id="q0")
                tasks.create_task(one)
                many = [BatchMessage(subject.format(number), b"x", f"q{number}") for number in (1, 2)]
                tasks.create_task(publish_batch(here, many))
                await asyncio.sleep(1.5)  # time for several refusals; they are no events that anybody can see
                for other in others:
                    other.thaw()
        finally:
            for other in others:
                other.thaw()
    await asyncio.to_thread(cluster.wait_ready)
    assert len((await jet.subjects("IN_0", "in.0.main.fu-q.>")).subjects) == 3
