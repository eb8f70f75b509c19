"""Direct gets."""

import time

import anyio
import anyio.to_thread
import pytest

from afield._bus import Bus, NoRespondersError
from afield._bus.direct import get_all, get_last, get_newest, get_next_batch
from support.nats import NatsServer
from support.streams import api, make_stream

pytestmark = pytest.mark.anyio


async def fill(bus: Bus, stream: str, count: int) -> None:
    """Publish numbered messages to two alternating subjects."""
    futures = [
        bus.publisher.start(f"{stream}.{i % 2}", b"%d" % i, msg_id=f"{stream}{i}") for i in range(count)
    ]
    for future in futures:
        await future


async def test_last_message_of_a_subject(bus: Bus) -> None:
    """The last stored message comes with its subject, sequence, headers and time; a bare subject has none."""
    stream = await make_stream(bus)
    await fill(bus, stream, 4)
    last = await get_last(bus, stream, f"{stream}.1")
    assert last is not None
    assert (last.subject, last.seq, last.data) == (f"{stream}.1", 4, b"3")
    assert last.headers["Nats-Msg-Id"] == f"{stream}3"
    assert abs(last.time - time.time()) < 60
    assert await get_last(bus, stream, f"{stream}.nothing") is None


async def test_newest_of_many_subjects(bus: Bus) -> None:
    """Of all subjects that a filter matches, the message stored last."""
    stream = await make_stream(bus)
    await fill(bus, stream, 5)
    newest = await get_newest(bus, stream, f"{stream}.*")
    assert newest is not None
    assert (newest.subject, newest.data) == (f"{stream}.0", b"4")
    assert await get_newest(bus, stream, f"{stream}.nothing.>") is None
    with pytest.raises(NoRespondersError):
        await get_newest(bus, "NOSUCH", "a.*")


async def test_stream_without_direct_gets_is_an_error(bus: Bus) -> None:
    """A stream that does not exist is told apart from a subject without messages."""
    with pytest.raises(NoRespondersError):
        await get_last(bus, "NOSUCH", "a")


async def test_pages_follow_one_another(bus: Bus) -> None:
    """A page tells whether there are more; the next starts behind it; other subjects are left out."""
    stream = await make_stream(bus)
    await fill(bus, stream, 20)
    first, more = await get_next_batch(bus, stream, f"{stream}.0", batch=6)
    assert ([m.data for m in first], more) == ([b"0", b"2", b"4", b"6", b"8", b"10"], True)
    second, more = await get_next_batch(bus, stream, f"{stream}.0", start_seq=first[-1].seq + 1, batch=6)
    assert ([m.data for m in second], more) == ([b"12", b"14", b"16", b"18"], False)


async def test_empty_page(bus: Bus) -> None:
    """Nothing stored, or nothing behind the start, is an empty page without more."""
    stream = await make_stream(bus)
    assert await get_next_batch(bus, stream, f"{stream}.>") == ([], False)
    await fill(bus, stream, 3)
    assert await get_next_batch(bus, stream, f"{stream}.>", start_seq=4) == ([], False)


async def test_page_is_cut_by_bytes(bus: Bus) -> None:
    """A page ends at about `max_bytes`, and says that there are more."""
    stream = await make_stream(bus)
    for i in range(5):
        await bus.publisher.publish(f"{stream}.a", bytes(1000), msg_id=f"{stream}{i}")
    page, more = await get_next_batch(bus, stream, f"{stream}.a", max_bytes=2500)
    assert 1 <= len(page) < 5
    assert more


async def test_all_pages_leave_no_consumer_behind(bus: Bus) -> None:
    """Reading 3000 messages takes several pages and no consumer, of which a server has few."""
    stream = await make_stream(bus)
    await fill(bus, stream, 3000)
    assert [m.seq for m in await get_all(bus, stream, f"{stream}.>")] == list(range(1, 3001))
    assert (await api(bus, f"STREAM.INFO.{stream}"))["state"]["consumer_count"] == 0


async def test_reading_waits_for_the_server(own_server: NatsServer, own_bus: Bus) -> None:
    """A page asked for while the server is away, or cut off by its death, comes whole after the restart."""
    stream = await make_stream(own_bus)
    await fill(own_bus, stream, 2000)
    found: list[int] = []

    async def read() -> None:
        while len(found) < 20_000:
            found.extend(m.seq for m in await get_all(own_bus, stream, f"{stream}.>"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.sleep(0.02)
        await anyio.to_thread.run_sync(own_server.restart)
    assert found == list(range(1, 2001)) * 10
