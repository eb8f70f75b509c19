"""Publishing with acknowledgements."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from afield._bus import (
    RESULT_EXISTS,
    STREAM_FULL,
    Bus,
    BusAddress,
    BusClosedError,
    NoRespondersError,
    PublishRefusedError,
    PublishTimeoutError,
    StreamFullError,
)
from afield._bus import publisher as module
from afield._bus.direct import get_last
from afield._bus.publisher import Publisher
from support.nats import NatsServer
from support.streams import FIRST_WINS, api, make_stream, stored
from support.waiting import until

pytestmark = pytest.mark.anyio


async def test_ack_names_the_sequence(bus: Bus) -> None:
    """A publish returns where the stream keeps the message."""
    stream = await make_stream(bus)
    acks = [await bus.publisher.publish(f"{stream}.a", b"x", msg_id=str(i)) for i in range(3)]
    assert [(a.seq, a.duplicate) for a in acks] == [(1, False), (2, False), (3, False)]


async def test_own_retry_is_a_duplicate_and_not_a_loss(bus: Bus) -> None:
    """Where the first result wins, a repeat under the same message id is acknowledged with the first's sequence."""
    stream = await make_stream(bus, **FIRST_WINS)
    await bus.publisher.publish(f"{stream}.r", b"mine", msg_id="call.0-1.container.1")
    again = await bus.publisher.publish(f"{stream}.r", b"mine", msg_id="call.0-1.container.1")
    assert (again.seq, again.duplicate) == (1, True)


async def test_second_publisher_is_told_that_a_result_exists(bus: Bus) -> None:
    """Where the first result wins, another publisher gets error 10077 and the first result stays."""
    stream = await make_stream(bus, **FIRST_WINS)
    await bus.publisher.publish(f"{stream}.r", b"first", msg_id="one")
    with pytest.raises(PublishRefusedError) as caught:
        await bus.publisher.publish(f"{stream}.r", b"second", msg_id="two")
    assert caught.value.err_code == RESULT_EXISTS
    last = await get_last(bus, stream, f"{stream}.r")
    assert last is not None
    assert last.data == b"first"


@pytest.mark.parametrize("limit", [{"max_msgs": 2}, {"max_bytes": 1000}])
async def test_full_stream_is_not_taken_for_a_result_that_exists(bus: Bus, limit: dict[str, int]) -> None:
    """The server's code is the same 10077 for both, and only one of them means that the message is there."""
    stream = await make_stream(bus, **FIRST_WINS, **limit)
    for number in range(2):
        await bus.publisher.publish(f"{stream}.{number}", b"x" * 400, msg_id=str(number))
    with pytest.raises(StreamFullError) as full:
        await bus.publisher.publish(f"{stream}.new", b"x" * 400, msg_id="new")
    with pytest.raises(PublishRefusedError) as taken:
        await bus.publisher.publish(f"{stream}.1", b"x" * 400, msg_id="twin")

    assert full.value.err_code == STREAM_FULL
    assert (type(taken.value), taken.value.err_code) == (PublishRefusedError, RESULT_EXISTS)


async def test_message_that_a_full_stream_refused_is_taken_when_there_is_room(bus: Bus) -> None:
    """The refusal does not count as the first publish of its message id."""
    stream = await make_stream(bus, **FIRST_WINS, max_msgs=1)
    await bus.publisher.publish(f"{stream}.a", b"x", msg_id="a")
    with pytest.raises(StreamFullError):
        await bus.publisher.publish(f"{stream}.b", b"x", msg_id="b")
    await api(bus, f"STREAM.PURGE.{stream}", {})

    assert not (await bus.publisher.publish(f"{stream}.b", b"x", msg_id="b")).duplicate


async def test_server_without_storage_is_full(tmp_path: Path) -> None:
    """What it has stored stays, and what it refuses is told apart from everything else."""
    with NatsServer(tmp_path, max_file_store="8MB") as server:
        async with Bus.open(BusAddress(server.url), name="test") as bus:
            stream = await make_stream(bus, storage="file", **FIRST_WINS)
            acks = [bus.publisher.start(f"{stream}.{i}", bytes(500_000), msg_id=str(i)) for i in range(100)]
            outcomes = await asyncio.gather(*acks, return_exceptions=True)
            stored = [outcome for outcome in outcomes if not isinstance(outcome, StreamFullError)]

            assert 0 < len(stored) < 100
            assert (await api(bus, f"STREAM.INFO.{stream}"))["state"]["messages"] == len(stored)


async def test_refused_publishes_leave_no_hole_in_the_window(bus: Bus) -> None:
    """Every refused message ends its future and frees its place (nats-py's publish_async hangs instead)."""
    stream = await make_stream(bus, **FIRST_WINS)
    futures = [bus.publisher.start(f"{stream}.r", b"", msg_id=str(i)) for i in range(100)]
    with anyio.fail_after(10):
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert sum(isinstance(o, PublishRefusedError) for o in outcomes) == 99
    assert bus.publisher.in_flight == 0


async def test_no_ack_is_lost_over_a_kill_of_the_server(own_server: NatsServer, own_bus: Bus) -> None:
    """Messages under way when the server is killed are all stored exactly once, and all futures end."""
    stream = await make_stream(own_bus)
    futures = [own_bus.publisher.start(f"{stream}.a", b"x" * 500, msg_id=str(i)) for i in range(3000)]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    await anyio.to_thread.run_sync(own_server.restart)
    futures += [own_bus.publisher.start(f"{stream}.a", b"", msg_id=str(i)) for i in range(3000, 4000)]
    with anyio.fail_after(30):
        acks = await asyncio.gather(*futures)
    assert len({ack.seq for ack in acks}) == 4000
    assert await stored(own_bus, stream) == 4000


async def test_missing_ack_leads_to_a_repeat(bus: Bus) -> None:
    """When an ack does not come in time, the message is sent again under the same id, and its ack counts."""
    stream = await make_stream(bus)
    publisher = Publisher(bus, ack_timeout=0.1)
    handlers = bus.inbox._handlers
    future = publisher.start(f"{stream}.a", b"x", msg_id="one")
    token, handler = next(reversed(handlers.items()))
    handlers[token] = lambda _headers, _data: handlers.__setitem__(token, handler)  # loses the first ack
    with anyio.fail_after(10):
        ack = await future
    assert ack.duplicate
    assert await stored(bus, stream) == 1
    publisher.close()


async def test_deadline_ends_a_publish_without_a_server(own_server: NatsServer, own_bus: Bus) -> None:
    """A message that nobody acknowledges fails at its deadline, saying that its fate is unknown."""
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    with pytest.raises(PublishTimeoutError, match=r"0 attempts, the connection to NATS is down.*not known"):
        await own_bus.publisher.publish("nowhere", b"", msg_id="x", deadline=0.2)


async def test_subject_without_a_stream_is_an_error(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subject that no stream takes fails after a grace, not at the deadline."""
    monkeypatch.setattr(module, "NO_STREAM_GRACE", 0.2)
    with pytest.raises(NoRespondersError, match="no stream takes messages to no\\.such\\.subject"):
        await bus.publisher.publish("no.such.subject", b"", msg_id="x")


async def test_stream_that_comes_up_late_is_waited_for(bus: Bus) -> None:
    """A message sent before its stream exists is stored when the stream appears within the grace."""
    future = bus.publisher.start("late.a", b"x", msg_id="x")
    await api(bus, "STREAM.CREATE.LATE", {"name": "LATE", "subjects": ["late.>"]})
    with anyio.fail_after(10):
        assert (await future).seq == 1


async def test_short_time_to_live_is_rounded_up(bus: Bus) -> None:
    """A time to live below one second becomes one second (the server refuses it as 0); none or less is an error."""
    stream = await make_stream(bus, allow_msg_ttl=True)
    await bus.publisher.publish(f"{stream}.a", b"", msg_id="x", ttl=0.3)
    last = await get_last(bus, stream, f"{stream}.a")
    assert last is not None
    assert last.headers["Nats-TTL"] == "1"
    with pytest.raises(ValueError, match="above 0 s"):
        bus.publisher.start(f"{stream}.a", b"", msg_id="y", ttl=0)


async def test_publish_waits_for_the_window(bus: Bus) -> None:
    """No more messages are under way than the window allows."""
    stream = await make_stream(bus)
    publisher = Publisher(bus, window=2)
    highest = 0

    async def one(i: int) -> None:
        nonlocal highest
        await publisher.publish(f"{stream}.a", b"", msg_id=str(i))

    def watch(*_: Any) -> None:
        nonlocal highest
        highest = max(highest, publisher.in_flight)

    async with anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(one, i)
        while publisher.in_flight == 0:
            await anyio.lowlevel.checkpoint()
        while publisher.in_flight:
            watch()
            await anyio.lowlevel.checkpoint()
    assert highest == 2
    assert await stored(bus, stream) == 20
    publisher.close()


async def test_cancelled_publish_is_forgotten(own_server: NatsServer, own_bus: Bus) -> None:
    """A message whose future was cancelled while the server was away is never sent."""
    stream = await make_stream(own_bus)
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    unwanted = own_bus.publisher.start(f"{stream}.a", b"", msg_id="unwanted")
    unwanted.cancel()
    await anyio.to_thread.run_sync(own_server.start)
    await own_bus.publisher.publish(f"{stream}.a", b"", msg_id="wanted")
    assert await stored(own_bus, stream) == 1


async def test_closing_the_bus_ends_all_futures(own_server: NatsServer) -> None:
    """What is still under way when the bus closes fails with BusClosedError."""
    async with Bus.open(BusAddress(own_server.url), name="test") as bus:
        own_server.kill9()
        await until(lambda: not bus.connected)
        future = bus.publisher.start("a", b"", msg_id="x")
    with pytest.raises(BusClosedError):
        await future
