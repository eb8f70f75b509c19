"""The supervised connection."""

import asyncio
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import nats.micro
import pytest

from afield._bus import (
    ApiFailure,
    Bus,
    BusAddress,
    BusBufferFullError,
    BusConnectError,
    BusTimeoutError,
    ConnectionLostError,
    Msg,
    NoRespondersError,
    PayloadTooLargeError,
)
from afield._bus import connection as module
from afield._wire.api import ApiError, CallRef, CallState, Endpoint
from afield._wire.codec import decode, encode
from support.nats import NatsServer, free_port
from support.streams import fresh, make_stream, stored
from support.waiting import until

pytestmark = pytest.mark.anyio

USERS = 'authorization { users: [ { user: alice, password: secret, permissions: { subscribe: "_INBOX.alice.>" } } ] }'


class Seen(list[Msg]):
    """Messages as they came."""


async def overfill(bus: Bus) -> None:
    """Make nats-py close the connection for ever: the server says that a message is too large, and hangs up."""
    # Without the message itself: what the server does not read any more would reset the connection, and its words be lost.
    bus.write(f"PUB x  {bus.max_payload + 1}\r\n".encode())


async def echo(bus: Bus, subject: str) -> None:
    """Answer each message on `subject` with its own data."""
    await bus.subscribe(subject, lambda msg: bus.send(msg.reply, msg.data))


async def test_request_returns_the_reply(bus: Bus) -> None:
    """A request comes back with what the responder said."""
    subject = fresh("echo")
    await echo(bus, subject)
    assert (await bus.request(subject, b"hello")).data == b"hello"


async def test_request_without_a_responder_fails_at_once(bus: Bus) -> None:
    """Nobody listening is an error of its own, not a timeout."""
    with pytest.raises(NoRespondersError, match="nobody\\.here"):
        await bus.request("nobody.here", timeout=60)


async def test_request_without_an_answer_times_out(bus: Bus) -> None:
    """A responder that says nothing leads to BusTimeoutError, which is a TimeoutError, and leaves nothing behind."""
    subject = fresh("mute")
    await bus.subscribe(subject, lambda _: None)
    with pytest.raises(TimeoutError, match=subject):
        await bus.request(subject, timeout=0.05)
    assert len(bus.inbox) == 0


async def test_wrong_password_is_said_at_once(tmp_path: Path) -> None:
    """Refused credentials end the first connection attempt, and the error names the server."""
    with (
        NatsServer(tmp_path, extra=USERS) as server,
        pytest.raises(BusConnectError, match=rf"{server.url}.*[Aa]uthorization"),
    ):
        async with Bus.open(BusAddress(server.url, "alice", "wrong"), name="t", connect_timeout=50):
            raise AssertionError("must not connect")


async def test_inbox_stays_within_the_users_own(tmp_path: Path) -> None:
    """A user that may only listen under `_INBOX.<user>` can ask and publish with acks."""
    with NatsServer(tmp_path, extra=USERS) as server:
        async with Bus.open(BusAddress(server.url, "alice", "secret"), name="t") as bus:
            stream = await make_stream(bus)
            assert (await bus.publisher.publish(f"{stream}.a", b"", msg_id="x")).seq == 1
            assert await bus.nc.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)


async def test_no_server_is_an_error_after_the_timeout() -> None:
    """A server that is not there is tried until the timeout; the error says where and why."""
    url = f"nats://127.0.0.1:{free_port()}"
    with pytest.raises(BusConnectError, match=rf"{url}.*gave up after 0\.3 s"):
        async with Bus.open(BusAddress(url), name="t", connect_timeout=0.3):
            raise AssertionError("must not connect")


async def test_error_of_the_block_comes_out_as_it_is(nats_server: NatsServer) -> None:
    """An exception inside `async with Bus.open()` is not wrapped in a group."""
    with pytest.raises(KeyError, match="mine"):
        async with Bus.open(BusAddress(nats_server.url), name="t"):
            raise KeyError("mine")


async def test_asynchronous_callback_gets_one_message_at_a_time(bus: Bus) -> None:
    """A coroutine function is awaited for one message after the other, in order."""
    subject, seen, running = fresh("serial"), [], 0

    async def slow(msg: Msg) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await anyio.lowlevel.checkpoint()
        running -= 1
        seen.append(msg.data)

    await bus.subscribe(subject, slow)
    for i in range(20):
        bus.send(subject, str(i).encode())
    await until(lambda: len(seen) == 20)
    assert seen == [str(i).encode() for i in range(20)]


async def test_broken_callback_does_not_stop_the_next_message(bus: Bus) -> None:
    """What a callback raises goes to the loop's exception handler, and the next message is delivered."""
    subject, seen, errors = fresh("broken"), [], []

    def callback(msg: Msg) -> None:
        seen.append(msg.data)
        if len(seen) == 1:
            raise KeyError("first")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    await bus.subscribe(subject, callback)
    bus.send(subject, b"1")
    bus.send(subject, b"2")
    await until(lambda: len(seen) == 2)
    assert [type(e) for e in errors] == [KeyError]


async def test_unsubscribe_ends_delivery(bus: Bus) -> None:
    """After unsubscribe nothing is delivered any more."""
    subject, seen = fresh("gone"), Seen()
    subscription = await bus.subscribe(subject, seen.append)
    bus.send(subject, b"1")
    await until(lambda: seen)
    await subscription.unsubscribe()
    bus.send(subject, b"2")
    await bus.flush()
    assert [m.data for m in seen] == [b"1"]
    assert not subscription.active


async def test_queue_group_delivers_to_one_member(bus: Bus) -> None:
    """Of the subscriptions in a queue group one gets each message."""
    subject, seen = fresh("group"), Seen()
    for _ in range(3):
        await bus.subscribe(subject, seen.append, queue="q")
    for _ in range(10):
        bus.send(subject, b"")
    await until(lambda: len(seen) == 10)
    await bus.flush()
    assert len(seen) == 10


async def test_headers_travel(bus: Bus) -> None:
    """Headers come out as they went in, and one that would break out of its line is refused."""
    subject, seen = fresh("headers"), Seen()
    await bus.subscribe(subject, seen.append)
    bus.send(subject, b"x", headers={"A": "1", "Umlaut": "grün"})
    await until(lambda: seen)
    assert seen[0].headers == {"A": "1", "Umlaut": "grün"}
    with pytest.raises(ValueError, match="header"):
        bus.send(subject, b"x", headers={"A": "1\r\nEvil: yes"})
    with pytest.raises(ValueError, match="subject"):
        bus.send("a b\r\nPUB evil", b"")


async def test_large_and_small_messages_arrive_whole(bus: Bus) -> None:
    """Messages of all sizes up to the limit arrive unharmed, whatever pieces the socket cuts them into."""
    subject, seen = fresh("sizes"), []
    await bus.subscribe(subject, lambda msg: seen.append(msg.data))
    payloads = [os.urandom(size) for size in (0, 1, 1000, 65_536, 300_000, bus.max_payload, 7, 500_000)]
    for payload in payloads:
        await bus.publish(subject, payload)
    await until(lambda: len(seen) == len(payloads))
    assert seen == payloads


async def test_size_limit_counts_the_headers(bus: Bus) -> None:
    """A payload at the limit passes without headers and is refused with them, before anything is sent."""
    epoch = bus.epoch
    await bus.publish("big", bytes(bus.max_payload))
    with pytest.raises(PayloadTooLargeError, match=r"with its headers.*send a blob"):
        await bus.publish("big", bytes(bus.max_payload), headers={"A": "1"})
    with pytest.raises(PayloadTooLargeError):
        bus.publisher.start("big", bytes(bus.max_payload), msg_id="x")
    await bus.flush()
    assert bus.epoch == epoch
    assert bus.publisher.in_flight == 0


async def test_connection_closed_for_ever_is_rebuilt(bus: Bus) -> None:
    """When nats-py closes for good, the bus makes a new client, restores subscriptions and tells of the reconnect."""
    subject, seen, reconnects = fresh("rebuilt"), Seen(), []
    await bus.subscribe(subject, seen.append)
    bus.on_reconnect(lambda: reconnects.append(bus.generation))
    old = bus.nc
    await overfill(bus)
    await until(lambda: reconnects)
    assert bus.generation == 1
    assert bus.nc is not old
    assert old.is_closed
    bus.send(subject, b"after")
    await until(lambda: seen)


async def test_publishes_survive_a_rebuild(bus: Bus) -> None:
    """Publishes and plain messages made while nats-py gives up are sent by the new client."""
    stream, subject, seen, lost = await make_stream(bus), fresh("held"), Seen(), anyio.Event()
    await bus.subscribe(subject, seen.append)
    bus.on_disconnect(lost.set)
    await overfill(bus)
    await lost.wait()
    assert not bus.connected
    bus.send(subject, b"held back")
    with anyio.fail_after(20):
        assert (await bus.publisher.publish(f"{stream}.a", b"", msg_id="x")).seq == 1
    await until(lambda: seen)
    assert bus.generation == 1


async def test_subscriptions_and_held_back_messages_survive_a_restart(
    own_server: NatsServer, own_bus: Bus
) -> None:
    """After a kill and restart of the server, messages sent meanwhile arrive at subscriptions old and new."""
    seen, reconnects = Seen(), []
    await own_bus.subscribe("old", seen.append)
    remove = own_bus.on_reconnect(lambda: reconnects.append(1))
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    await own_bus.subscribe("new", seen.append)
    own_bus.send("old", b"1")
    own_bus.send("new", b"2")
    await anyio.to_thread.run_sync(own_server.start)
    await until(lambda: len(seen) == 2)
    assert {m.data for m in seen} == {b"1", b"2"}
    await until(lambda: reconnects)
    remove()
    assert own_bus.generation == 0


async def test_held_back_messages_are_bounded(own_server: NatsServer, own_bus: Bus) -> None:
    """While the server is away, messages are held back up to a bound, then refused."""
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    for _ in range(15):
        own_bus.send("a", bytes(own_bus.max_payload))
    with pytest.raises(BusBufferFullError, match="wait for the connection"):
        own_bus.send("a", bytes(own_bus.max_payload))


async def test_request_under_way_fails_with_its_connection(own_server: NatsServer, own_bus: Bus) -> None:
    """A request whose connection breaks fails at once, unless it may be repeated; then it is, and succeeds."""
    asked = Seen()
    await own_bus.subscribe("mute", asked.append)
    repeated: list[Msg] = []

    async def repeat() -> None:
        repeated.append(await own_bus.request("mute", timeout=20, repeat=True))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repeat)
        await until(lambda: asked)
        own_server.kill9()
        with pytest.raises((ConnectionLostError, BusTimeoutError)):
            await own_bus.request("mute", timeout=2)
        asked.clear()
        await anyio.to_thread.run_sync(own_server.start)
        await until(lambda: asked)
        own_bus.send(asked[0].reply, b"late")
    assert repeated[0].data == b"late"


async def test_frozen_server_is_noticed(own_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is stopped, not dead, counts as gone after two unanswered pings, and is found again."""
    monkeypatch.setattr(module, "PING_INTERVAL", 1)
    async with Bus.open(BusAddress(own_server.url), name="t") as bus:
        own_server.freeze()
        try:
            await until(lambda: not bus.connected)
        finally:
            own_server.thaw()
        await bus.flush()


async def test_late_answer_to_a_flush_does_no_harm(own_server: NatsServer, own_bus: Bus) -> None:
    """A flush that timed out on a slow server is answered later, and the connection lives on (nats-py's dies)."""
    epoch = own_bus.epoch
    own_server.freeze()
    try:
        with pytest.raises(BusTimeoutError, match="flush"):
            await own_bus.flush(timeout=0.1)
    finally:
        own_server.thaw()
    await own_bus.flush()
    await own_bus.flush()
    assert own_bus.epoch == epoch


async def test_flush_goes_on_after_a_restart(own_server: NatsServer, own_bus: Bus) -> None:
    """A flush whose connection breaks is answered on the next one."""
    async with anyio.create_task_group() as tasks:
        own_server.kill9()
        tasks.start_soon(own_bus.flush)
        await until(lambda: not own_bus.connected)
        tasks.start_soon(own_bus.flush)
        await anyio.to_thread.run_sync(own_server.start)


async def test_smaller_limit_after_a_restart(own_server: NatsServer, own_bus: Bus) -> None:
    """A message that the server takes no more when it is back fails, and the connection is not lost over it."""
    stream = await make_stream(own_bus)
    own_server.kill9()
    await until(lambda: not own_bus.connected)
    future = own_bus.publisher.start(f"{stream}.a", bytes(10_000), msg_id="x")
    own_server.configure("max_payload: 5000")
    await anyio.to_thread.run_sync(own_server.start)
    with pytest.raises(PayloadTooLargeError, match="takes 5,000"):
        await future
    await own_bus.flush()
    assert own_bus.generation == 0


async def serve_state(bus: Bus, subject: str, seen: list[CallRef]) -> Endpoint[CallRef, CallState]:
    """Answer CALL_GET-like requests; the call id `bad` is refused."""

    def answer(msg: Msg) -> None:
        ref = decode(CallRef, msg.data)
        seen.append(ref)
        if ref.call_id == "bad":
            error = encode(ApiError(code="not_found", message="no call bad"))
            bus.send(msg.reply, error, headers={"Nats-Service-Error-Code": "404", "Nats-Service-Error": "no"})
        else:
            bus.send(msg.reply, encode(CallState(call_id=ref.call_id, pending=("0-1",), finished=())))

    await bus.subscribe(subject, answer, queue="q")
    return Endpoint(subject, CallRef, CallState)


async def test_call_is_typed(bus: Bus) -> None:
    """An endpoint takes and returns messages; its errors arrive as ApiFailure with code and sentence."""
    endpoint = await serve_state(bus, fresh("svc"), [])
    state = await bus.call(endpoint, CallRef(ws="main", call_id="c"))
    assert state.pending == ("0-1",)
    with pytest.raises(ApiFailure, match="no call bad") as caught:
        await bus.call(endpoint, CallRef(ws="main", call_id="bad"))
    assert caught.value.code == "not_found"


async def test_call_waits_for_a_service_that_starts(bus: Bus) -> None:
    """A call made before its service is up succeeds when the service comes; without one it fails at the timeout."""
    subject, state = fresh("svc"), []

    async def ask() -> None:
        state.append(await bus.call(Endpoint(subject, CallRef, CallState), CallRef(ws="main", call_id="c")))

    with pytest.raises(NoRespondersError, match=r"none came up within 0\.1 s"):
        await bus.call(Endpoint(subject, CallRef, CallState), CallRef(ws="main", call_id="c"), timeout=0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.05)
        await serve_state(bus, subject, [])
    assert state


async def test_call_is_repeated_when_its_hearer_dies(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that was killed with a request answers nothing; the next one gets the request again."""
    monkeypatch.setattr("afield._bus.connection.AGAIN_S", 0.1)
    subject = fresh("svc")
    heard: list[Msg] = []
    dead = await bus.subscribe(subject, heard.append, queue="q")
    states: list[CallState] = []

    async def ask() -> None:
        states.append(await bus.call(Endpoint(subject, CallRef, CallState), CallRef(ws="main", call_id="c")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: heard)
        await dead.unsubscribe()
        await anyio.sleep(0.5)  # nobody is there for some of the repeats
        await serve_state(bus, subject, [])
    assert [state.call_id for state in states] == ["c"]


async def test_call_is_answered_by_who_listens_no_more(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stops finishes what it has begun; repeats that nobody hears change nothing."""
    monkeypatch.setattr("afield._bus.connection.AGAIN_S", 0.05)
    subject = fresh("svc")
    heard: list[Msg] = []
    stopping = await bus.subscribe(subject, heard.append, queue="q")
    states: list[CallState] = []

    async def ask() -> None:
        states.append(await bus.call(Endpoint(subject, CallRef, CallState), CallRef(ws="main", call_id="c")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: heard)
        await stopping.unsubscribe()
        await anyio.sleep(0.3)
        for _ in range(2):
            bus.send(heard[0].reply, encode(CallState(call_id="c", pending=(), finished=("0-1",))))
    assert [state.finished for state in states] == [("0-1",)]


async def test_nats_micro_runs_on_the_inline_client(bus: Bus) -> None:
    """Subscriptions of nats-py itself, such as those of its micro services, work on the same connection."""

    async def handler(request: Any) -> None:
        await request.respond(request.data + b"!")

    service = await nats.micro.add_service(bus.nc, name="echo", version="1.0.0")
    await service.add_endpoint(name="say", handler=handler)
    assert (await bus.request("say", b"hi")).data == b"hi!"
    assert b'"name":"echo"' in (await bus.request("$SRV.INFO.echo")).data.replace(b": ", b":")
    await service.stop()


async def test_a_plain_subscriber_sees_refused_messages_and_republish_does_not(bus: Bus) -> None:
    """On the stream's subject a subscriber sees losers of first-wins; on the republished one only what is stored."""
    name = fresh("R")
    stream = await make_stream(
        bus,
        subjects=[f"{name}.out.>"],
        discard="new",
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
        republish={"src": f"{name}.out.>", "dest": f"{name}.res.>"},
    )
    plain, republished = Seen(), Seen()
    await bus.subscribe(f"{name}.out.>", plain.append)
    await bus.subscribe(f"{name}.res.>", republished.append)
    for i in range(3):
        future = bus.publisher.start(f"{name}.out.a", b"%d" % i, msg_id=str(i))
        await asyncio.wait([future])
        assert future.exception() is None or i > 0
    await until(lambda: len(plain) == 3)
    await bus.flush()
    assert [(m.data, m.headers["Nats-Sequence"]) for m in republished] == [(b"0", "1")]
    assert await stored(bus, stream) == 1
