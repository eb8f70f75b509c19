"""Key-value buckets."""

import pytest

from afield._bus import Bus, ConflictError, NoRespondersError
from afield._bus.kv import Bucket, Entry
from support.streams import api, make_bucket
from support.waiting import until

pytestmark = pytest.mark.anyio


async def test_put_and_get(bus: Bus) -> None:
    """A value comes back with its revision; a key without one is None."""
    bucket = Bucket(bus, await make_bucket(bus))
    assert await bucket.get("a") is None
    assert await bucket.put("a", b"1") == 1
    assert await bucket.put("a", b"2") == 2
    assert await bucket.get("a") == Entry("a", b"2", 2)


async def test_update_needs_the_present_revision(bus: Bus) -> None:
    """Compare-and-set succeeds once; who comes with an old revision is told to read again."""
    bucket = Bucket(bus, await make_bucket(bus))
    first = await bucket.put("a", b"1")
    await bucket.update("a", b"2", first)
    with pytest.raises(ConflictError, match=r"expected revision 1 under 'a'.*read it again"):
        await bucket.update("a", b"3", first)


async def test_create_needs_an_absent_key(bus: Bus) -> None:
    """Creating succeeds for a new and for a deleted key, and conflicts with a value."""
    bucket = Bucket(bus, await make_bucket(bus))
    await bucket.create("a", b"1")
    with pytest.raises(ConflictError, match="expected no value"):
        await bucket.create("a", b"2")
    await bucket.delete("a")
    assert await bucket.get("a") is None
    await bucket.create("a", b"3")
    assert await bucket.get("a") == Entry("a", b"3", 3)


async def test_lost_answer_is_not_taken_for_a_conflict(bus: Bus) -> None:
    """When the answer to a compare-and-set is lost, its repeat loses against itself; that counts as success."""
    bucket = Bucket(bus, await make_bucket(bus))
    lost: list[bytes] = []
    real = bus._requests._send

    def send_twice(request: object) -> None:
        """Carry the request out once without listening to the answer, then again."""
        if request.subject.startswith("$KV") and not lost:  # type: ignore[attr-defined]
            frame: bytes = request.frame  # type: ignore[attr-defined]
            lost.append(frame)
            bus.write(
                frame.replace(
                    bus.inbox.prefix.encode(), b"nobody.xxxxxxxxxxxx.".ljust(len(bus.inbox.prefix), b"x")
                )
            )
        real(request)  # type: ignore[arg-type]

    bus._requests._send = send_twice  # type: ignore[method-assign]
    revision = await bucket.create("a", b"1")
    assert lost
    assert await bucket.get("a") == Entry("a", b"1", revision) == Entry("a", b"1", 1)


async def test_delete_at_a_revision(bus: Bus) -> None:
    """A key is deleted only at the revision given."""
    bucket = Bucket(bus, await make_bucket(bus))
    await bucket.put("a", b"1")
    second = await bucket.put("a", b"2")
    with pytest.raises(ConflictError):
        await bucket.delete("a", second - 1)
    await bucket.delete("a", second)
    assert await bucket.get("a") is None


async def test_snapshot_holds_the_living(bus: Bus) -> None:
    """A snapshot has each present key once, with its last value, by revision, under the prefix."""
    bucket = Bucket(bus, await make_bucket(bus, max_msgs_per_subject=5))
    for key in ("app.1", "app.2", "fn.1", "app.1", "app.3"):
        await bucket.put(key, key.encode())
    await bucket.delete("app.3")
    assert [(e.key, e.revision) for e in await bucket.snapshot("app.>")] == [("app.2", 2), ("app.1", 4)]
    assert len(await bucket.snapshot()) == 3


async def test_snapshots_need_no_consumers(bus: Bus) -> None:
    """Snapshots leave no consumers (each KV.keys() of nats-py keeps one for five minutes) and never miss a key."""
    name = await make_bucket(bus)
    bucket = Bucket(bus, name)
    await bucket.put("a", b"1")
    for _ in range(50):
        assert len(await bucket.snapshot()) == 1
    assert (await api(bus, f"STREAM.INFO.KV_{name}"))["state"]["consumer_count"] == 0


async def test_expired_key_with_a_marker_can_be_created(bus: Bus) -> None:
    """Behind an expiry that left a marker, the key is absent and can be created at once (nats-py waits for the marker)."""
    bucket = Bucket(bus, await make_bucket(bus, subject_delete_marker_ttl=60_000_000_000))
    markers = []
    await bus.subscribe(
        f"kv.{bucket.name}.a", lambda msg: markers.append(msg.headers.get("Nats-Marker-Reason"))
    )
    await bucket.put("a", b"1", ttl=1)
    await until(lambda: "MaxAge" in markers)
    assert await bucket.get("a") is None
    assert await bucket.snapshot() == []
    await bucket.create("a", b"2")
    entry = await bucket.get("a")
    assert entry is not None
    assert entry.data == b"2"


async def test_bad_key_and_missing_bucket_are_errors(bus: Bus) -> None:
    """A key with a wildcard or white space is refused before sending; a bucket that is not there is an error."""
    bucket = Bucket(bus, "NOSUCH")
    for key in ("", "a b", "a.*", ">", "a..b", "a\r\nPUB x"):
        with pytest.raises(ValueError, match="expected a key"):
            await bucket.put(key, b"")
    with pytest.raises(NoRespondersError):
        await bucket.put("a", b"")
