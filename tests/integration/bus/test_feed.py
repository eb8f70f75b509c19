"""The feed of a bucket's changes."""

import asyncio

import anyio
import anyio.to_thread
import pytest

from afield._bus import Bus, BusAddress, ConflictError, Msg, feed
from afield._bus.feed import Feed
from afield._bus.kv import Bucket, Entry
from support.nats import NatsServer
from support.streams import api, make_bucket
from support.waiting import until

pytestmark = pytest.mark.anyio


class Mirror:
    """What a feed told."""

    def __init__(self) -> None:
        self.state: dict[str, bytes] = {}
        self.events: list[tuple[str, bytes | None]] = []

    def put(self, entry: Entry) -> None:
        """Take a value."""
        self.state[entry.key] = entry.data
        self.events.append((entry.key, entry.data))

    def delete(self, key: str) -> None:
        """Take a deletion."""
        del self.state[key]
        self.events.append((key, None))


async def test_feed_begins_with_all_there_is(bus: Bus) -> None:
    """On entry everything under the prefix has been told; afterwards each change is, once."""
    bucket, mirror = Bucket(bus, await make_bucket(bus)), Mirror()
    await bucket.put("app.1", b"a")
    await bucket.put("fn.1", b"x")
    async with Feed(bucket, "app.>", mirror.put, mirror.delete):
        assert mirror.state == {"app.1": b"a"}
        await bucket.put("app.2", b"b")
        await bucket.put("fn.2", b"x")
        await bucket.delete("app.1")
        await until(lambda: mirror.state == {"app.2": b"b"})
    assert mirror.events == [("app.1", b"a"), ("app.2", b"b"), ("app.1", None)]


async def test_feed_shows_committed_changes_only(bus: Bus) -> None:
    """A compare-and-set that lost is not told (a plain subscriber of $KV would see it)."""
    bucket, mirror, plain = Bucket(bus, await make_bucket(bus)), Mirror(), list[Msg]()
    await bus.subscribe(f"$KV.{bucket.name}.>", plain.append)
    async with Feed(bucket, ">", mirror.put, mirror.delete):
        revision = await bucket.create("a", b"won")
        with pytest.raises(ConflictError):
            await bucket.update("a", b"lost", revision + 7)
        await bucket.update("a", b"won again", revision)
        await until(lambda: len(mirror.events) == 2)
    assert [data for _, data in mirror.events] == [b"won", b"won again"]
    assert b"lost" in [m.data for m in plain]


async def test_feed_tells_of_an_expiry(bus: Bus) -> None:
    """A key whose time runs out is told as deleted, by the server's marker."""
    name = await make_bucket(bus, storage="memory", subject_delete_marker_ttl=60_000_000_000)
    bucket, mirror = Bucket(bus, name), Mirror()
    async with Feed(bucket, ">", mirror.put, mirror.delete):
        await bucket.put("worker", b"alive", ttl=1)
        await until(lambda: mirror.events[-1:] == [("worker", None)])


async def test_feed_is_complete_after_an_outage(own_server: NatsServer, own_bus: Bus) -> None:
    """Changes and deletions made while the feed's connection was away are told after the reconnect, without consumers."""
    bucket, mirror = Bucket(own_bus, await make_bucket(own_bus)), Mirror()
    await bucket.put("stays", b"1")
    await bucket.put("goes", b"1")
    async with (
        Feed(bucket, ">", mirror.put, mirror.delete),
        Bus.open(BusAddress(own_server.url), name="other") as other,
    ):
        # Cut off the feed's hearing, so that only the comparison after the reconnect can tell it.
        own_bus.nc.inline.clear()
        there = Bucket(other, bucket.name)
        await there.delete("goes")
        await there.put("new", b"2")
        await anyio.to_thread.run_sync(own_server.kill9)
        for subscription in own_bus.subscriptions:
            own_bus.nc.inline[str(subscription.sid)] = subscription.handler
        await anyio.to_thread.run_sync(own_server.start)
        await until(lambda: mirror.state == {"stays": b"1", "new": b"2"})
        assert (await api(other, f"STREAM.INFO.KV_{bucket.name}"))["state"]["consumer_count"] == 0


async def test_feed_notices_a_purge(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge republishes nothing; the next comparison with the bucket finds it."""
    monkeypatch.setattr(feed, "RESYNC", 0.05)
    bucket, mirror = Bucket(bus, await make_bucket(bus)), Mirror()
    await bucket.put("a.1", b"1")
    async with Feed(bucket, "a.>", mirror.put, mirror.delete):
        await api(bus, f"STREAM.PURGE.{bucket.stream}", {"filter": bucket.subject("a.1")})
        await until(lambda: not mirror.state)


async def test_feed_agrees_with_the_bucket_under_load(bus: Bus) -> None:
    """With changes going on during the first snapshot, the feed ends in the bucket's state."""
    bucket, mirror = Bucket(bus, await make_bucket(bus)), Mirror()
    for i in range(300):
        await bucket.put(f"k.{i}", b"old")

    async def change() -> None:
        for i in range(0, 300, 2):
            await bucket.delete(f"k.{i}")
            await bucket.put(f"k.{i + 1}", b"new")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change)
        await asyncio.sleep(0.01)
        async with Feed(bucket, ">", mirror.put, mirror.delete):
            expected = {f"k.{i}": b"new" for i in range(1, 300, 2)}
            await until(lambda: mirror.state == expected)


async def test_error_of_the_block_comes_out_as_it_is(bus: Bus) -> None:
    """An exception inside `async with Feed()` is not wrapped in a group."""
    bucket = Bucket(bus, await make_bucket(bus))
    with pytest.raises(KeyError, match="mine"):
        async with Feed(bucket, ">", lambda _: None, lambda _: None):
            raise KeyError("mine")
