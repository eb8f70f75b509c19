"""Atomic batches."""

import anyio
import anyio.to_thread
import pytest

from afield._bus import Bus, BusTimeoutError, NoRespondersError, PayloadTooLargeError, PublishRefusedError
from afield._bus import batch as module
from afield._bus.batch import BatchMessage, publish_batch
from support.nats import NatsServer
from support.streams import FIRST_WINS, make_stream, stored
from support.waiting import until

pytestmark = pytest.mark.anyio


def messages(stream: str, count: int, *, size: int = 10, first: int = 0) -> list[BatchMessage]:
    """Numbered messages of `size` bytes."""
    return [BatchMessage(f"{stream}.{i}", bytes(size), f"{stream}.{i}") for i in range(first, first + count)]


async def batch_stream(bus: Bus) -> str:
    """A stream that takes batches, of which the first message on a subject wins."""
    return await make_stream(bus, allow_atomic=True, **FIRST_WINS)


@pytest.mark.parametrize("count", [1, 2, 1000])
async def test_batch_is_stored(bus: Bus, count: int) -> None:
    """All messages of a batch are stored."""
    stream = await batch_stream(bus)
    await publish_batch(bus, messages(stream, count))
    assert await stored(bus, stream) == count


async def test_repeated_batch_counts_as_success(bus: Bus) -> None:
    """The identical batch a second time (its answer was lost) is fine and stores nothing more."""
    stream = await batch_stream(bus)
    await publish_batch(bus, messages(stream, 10))
    await publish_batch(bus, messages(stream, 10))
    assert await stored(bus, stream) == 10


async def test_refused_batch_stores_nothing(bus: Bus) -> None:
    """One subject that is taken refuses the whole batch, with the reason."""
    stream = await batch_stream(bus)
    await bus.publisher.publish(f"{stream}.5", b"", msg_id="somebody else")
    with pytest.raises(PublishRefusedError) as caught:
        await publish_batch(bus, messages(stream, 10))
    assert caught.value.err_code == 10077
    assert await stored(bus, stream) == 1


async def test_batch_waits_while_too_many_are_open(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others have 50 batches open on the stream, ours is refused (10210) and repeated until there is room."""
    stream, refused = await batch_stream(bus), []
    original = module._Attempt.run

    async def run(self: module._Attempt) -> bool:
        done = await original(self)
        refused.extend([] if done else [self])
        return done

    def others(sequence: str, extra: dict[str, str]) -> None:
        for i in range(50):
            headers = {"Nats-Batch-Id": f"{stream}.{i}", "Nats-Batch-Sequence": sequence, **extra}
            bus.send(f"{stream}.other.{i}.{sequence}", b"", headers=headers)

    monkeypatch.setattr(module._Attempt, "run", run)
    others("1", {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish_batch, bus, messages(stream, 10))
        await until(lambda: refused)
        others("2", {"Nats-Batch-Commit": "1"})
    assert await stored(bus, stream) == 110


async def test_many_batches_at_once_all_succeed(bus: Bus) -> None:
    """More batches at once than the server takes are all stored."""
    stream = await batch_stream(bus)
    async with anyio.create_task_group() as tasks:
        for i in range(120):
            tasks.start_soon(publish_batch, bus, messages(stream, 100, first=100 * i))
    assert await stored(bus, stream) == 12_000


async def test_batches_survive_a_kill_of_the_server(own_server: NatsServer, own_bus: Bus) -> None:
    """Batches under way when the server is killed are stored exactly once."""
    stream = await batch_stream(own_bus)
    done = []

    async def one(i: int) -> None:
        await publish_batch(own_bus, messages(stream, 500, first=500 * i, size=500))
        done.append(i)

    async with anyio.create_task_group() as tasks:
        for i in range(40):
            tasks.start_soon(one, i)
        await until(lambda: done)
        await anyio.to_thread.run_sync(own_server.restart)
    assert await stored(own_bus, stream) == 20_000


async def test_unsound_batches_are_refused_before_sending(bus: Bus) -> None:
    """Empty, too many, too large together, too large alone: the caller's fault, said at once."""
    for bad in ([], messages("S", 1001), messages("S", 9, size=1_000_000)):
        with pytest.raises(ValueError, match="split it"):
            await publish_batch(bus, bad)
    with pytest.raises(PayloadTooLargeError):
        await publish_batch(bus, messages("S", 1, size=bus.max_payload))
    assert len(bus.inbox) == 0


async def test_batch_without_a_stream_is_an_error(bus: Bus) -> None:
    """Subjects that no stream takes are an error at once."""
    with pytest.raises(NoRespondersError):
        await publish_batch(bus, messages("nobody", 3))


async def test_batch_without_a_server_times_out(own_server: NatsServer, own_bus: Bus) -> None:
    """Without a server the batch fails at its deadline, saying that its fate is unknown."""
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    with pytest.raises(BusTimeoutError, match="not known"):
        await publish_batch(own_bus, messages("S", 3), timeout=0.2)
