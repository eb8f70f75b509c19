"""Messages that other threads send by themselves, beside the loop."""

import asyncio
import hashlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import FrameType

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from afield._bus import Bus, BusAddress, BusClosedError
from afield._bus.direct import get_all
from support.nats import NatsServer
from support.streams import make_stream, stored
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

THREADS = 6
EACH = 60


def launch(bus: Bus, subject: str, payload: bytes, msg_id: str, *, trusting: bool = False) -> None:
    """Send one message from this thread."""
    flight = bus.publisher.prepare(subject, payload, msg_id=msg_id, trusting=trusting)
    bus.publisher.launch(flight, here=False)


def narrow(bus: Bus) -> None:
    """Let the kernel take less than a large message at once."""
    assert bus.nc._wire is not None
    sock = socket.socket(fileno=bus.nc._wire._fd)
    # More than a segment of the loopback: else each waits for an acknowledgement that is delayed.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 60_000)
    sock.detach()


def body(number: int, size: int) -> bytes:
    """Something that does not look the same cut elsewhere."""
    piece = hashlib.sha256(str(number).encode()).hexdigest().encode()
    return (piece * (size // len(piece) + 1))[:size]


@pytest.mark.parametrize("size", [100, 200_000])
async def test_messages_of_many_threads_stay_whole(bus: Bus, size: int) -> None:
    """Also those that the socket takes in part only, and beside what the loop sends meanwhile."""
    stream = await make_stream(bus)
    narrow(bus)

    def work(thread: int) -> None:
        for i in range(EACH):
            number = thread * EACH + i
            launch(bus, f"{stream}.{number}", body(number, size), str(number))

    async with asyncio.TaskGroup() as group:
        for thread in range(THREADS):
            group.create_task(asyncio.to_thread(work, thread))
        for number in range(THREADS * EACH, THREADS * EACH + EACH):
            await bus.publisher.publish(f"{stream}.{number}", body(number, size), msg_id=str(number))
    await until(lambda: not bus.publisher.in_flight)

    messages = await get_all(bus, stream, f"{stream}.>")
    assert len(messages) == THREADS * EACH + EACH
    for message in messages:
        number = int(message.subject.rpartition(".")[2])
        assert message.data == body(number, size)
    assert bus.epoch == 1


async def test_no_message_of_a_thread_is_lost_over_a_kill_of_the_server(
    own_server: NatsServer, own_bus: Bus
) -> None:
    """Whenever it was sent: before, while nobody is there, or while the connection is made anew."""
    stream = await make_stream(own_bus)
    over = threading.Event()
    sent = 0

    def work() -> None:
        nonlocal sent
        while not over.is_set() or sent < 1000:
            launch(own_bus, f"{stream}.a", b"x" * 100, str(sent))
            sent += 1
            over.wait(0.0005)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(work))
        for _ in range(3):
            await until(lambda before=sent: sent > before + 50)  # type: ignore[misc]
            own_server.kill9()
            await until(lambda: not own_bus.connected)
            await anyio.to_thread.run_sync(own_server.start)
            await until(lambda: own_bus.connected)
        over.set()
    with anyio.fail_after(30):
        await until(lambda: not own_bus.publisher.in_flight, timeout=30)
    assert await stored(own_bus, stream) == sent


async def test_nothing_is_sent_before_the_server_knows_the_subscriptions(bus: Bus) -> None:
    """Else the answer could come before anybody listens."""
    assert bus.nc._wire is not None
    bus.nc._wire.shared = False
    assert not bus.write_from_thread(b"PING\r\n")
    bus.nc._wire.shared = True
    assert bus.write_from_thread(b"PING\r\n")


async def test_message_that_asks_for_no_ack_is_stored(bus: Bus) -> None:
    """Confirmed afterwards, it is a duplicate; withdrawn, it is not sent again."""
    stream = await make_stream(bus)
    one = bus.publisher.prepare(f"{stream}.a", b"x", msg_id="one", trusting=True)
    two = bus.publisher.prepare(f"{stream}.a", b"x", msg_id="two", trusting=True)
    for flight in (one, two):
        await asyncio.to_thread(bus.publisher.launch, flight, here=False)

    async def both_are() -> bool:
        return await stored(bus, stream) == 2

    await until_true(both_are)
    assert bus.publisher.in_flight == 0
    bus.publisher.confirm(one)
    bus.publisher.withdraw(two)
    bus.publisher.confirm(two)

    assert bus.publisher.in_flight == 1
    assert (await one.future).duplicate
    assert two.future.cancelled()


async def test_confirmation_after_the_deadline_sends_nothing(bus: Bus) -> None:
    """Whether it was stored, and taken since, is not known any more: who repeats it might have it done twice."""
    stream = await make_stream(bus)
    flight = bus.publisher.prepare(f"{stream}.a", b"x", msg_id="x", trusting=True, deadline=-1)
    bus.publisher.confirm(flight)

    assert flight.future.cancelled()
    assert await stored(bus, stream) == 0


async def test_closed_bus_takes_nothing(nats_server: NatsServer) -> None:
    """Neither from its loop nor from other threads."""
    async with Bus.open(BusAddress(nats_server.url), name="test") as bus:
        pass
    assert not bus.write_from_thread(b"PING\r\n")
    with pytest.raises(BusClosedError):
        bus.publisher.start("a", b"", msg_id="x")


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A signal that raises KeyboardInterrupt in `launch`, wherever in it the main thread is; counts how often it did."""
    seen: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not launch.__code__:
            frame = frame.f_back
        if frame is not None:
            seen.append(number)
            raise KeyboardInterrupt

    # Python drops what hits a callback of its own, and would tell.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = signal.signal(signal.SIGUSR2, on_signal)
    yield seen
    signal.signal(signal.SIGUSR2, before)


def test_interrupted_sender_leaves_no_half_message(nats_server: NatsServer, interrupts: list[int]) -> None:
    """Wherever an interrupt hits the thread that sends, the connection stays whole."""
    main, calm = threading.main_thread().ident, threading.Event()
    assert main is not None

    def disturb() -> None:
        while not calm.wait(0.0002):
            signal.pthread_kill(main, signal.SIGUSR2)

    disturber = threading.Thread(target=disturb)
    with start_blocking_portal() as portal:
        opened = Bus.open(BusAddress(nats_server.url), name="test")
        with portal.wrap_async_context_manager(opened) as bus:
            stream = portal.call(make_stream, bus)
            narrow(bus)
            disturber.start()
            for number in range(500):
                with suppress(KeyboardInterrupt):
                    launch(bus, f"{stream}.a", body(number, 200_000), str(number))
            calm.set()
            disturber.join()
            portal.call(partial(bus.publisher.publish, f"{stream}.a", b"", msg_id="last"))
            assert bus.epoch == 1
    assert interrupts
