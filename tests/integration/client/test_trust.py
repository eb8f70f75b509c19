"""Calls of quick functions: their inputs ask for no ack, as the result says as much."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from afield import _inbox
from afield._bus.direct import StoredMessage, get_last
from afield._bus.errors import NoRespondersError
from afield._platform import QUICK_S, TRUSTING
from afield._wire import streams
from support.callers import Caller, caller_on
from support.echo_worker import echo
from support.nats import NatsServer
from support.streams import api, stored
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

Call = Callable[[Caller, Any], Coroutine[Any, Any, Any]]


async def awaited(caller: Caller, value: Any) -> Any:
    """Call on this loop."""
    return await caller.function.remote.aio(value)


async def blocking(caller: Caller, value: Any) -> Any:
    """Call from a thread."""
    return await asyncio.to_thread(caller.function.remote, value)


both_ways = pytest.mark.parametrize("call", [awaited, blocking])


@pytest.fixture
async def caller(own_server: NatsServer) -> AsyncIterator[Caller]:
    """A caller on it; its function is known as quick, on either loop."""
    async with caller_on(own_server.url) as made:
        for call in (awaited, blocking):
            assert await call(made, 0) == 0
            assert await call(made, 0) == 0
        client = made.uplink.portal_client
        assert client is not None
        # On a busy host even these may take their time.
        for each in (made.client, client):
            each._quick.add(made.worker.record.function_id)
        yield made


def asked(caller: Caller) -> list[bool]:
    """Return the list in which each input from now on tells whether it asks for an ack."""
    seen: list[bool] = []
    caller.worker.bus.open_subscription("in.>", lambda _s, reply, _h, _d: seen.append(bool(reply)))
    return seen


async def while_it_is_away(caller: Caller, own_server: NatsServer, call: Call) -> Any:
    """Return what a call gives that is made when the server has just been killed, and comes back later."""
    own_server.kill9()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(caller, 5))
        await until(lambda: not caller.client.bus.connected)
        await asyncio.to_thread(own_server.start)
        return await running


@both_ways
async def test_input_of_a_quick_function_asks_for_no_ack(caller: Caller, call: Call) -> None:
    """The next one of a function that has become slow does."""
    seen = asked(caller)
    await caller.worker.bus.flush()
    assert await call(caller, 1) == 1
    caller.worker.answer = lambda _pack: None
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(call(caller, 2))
        await until(lambda: len(caller.worker.packs) == 6)
        pack = caller.worker.packs[-1]
        await until(lambda: time.time() - pack.sent_at > QUICK_S)
        caller.worker.answer = echo
        caller.worker.store(pack, echo(pack))
        assert await slow == 2
    seen.clear()
    assert await call(caller, 3) == 3

    assert seen == [True]


async def test_only_a_few_at_once_do_so(caller: Caller) -> None:
    """With many calls in flight acks cost little, and tell at once when there is no room."""
    seen = asked(caller)
    await caller.worker.bus.flush()

    assert await asyncio.gather(*(awaited(caller, i) for i in range(50))) == list(range(50))
    await until(lambda: len(seen) >= 50)
    assert seen[:TRUSTING] == [False] * TRUSTING
    assert seen.count(True) >= 50 - 2 * TRUSTING


@both_ways
async def test_call_that_takes_long_is_sent_once_more(caller: Caller, call: Call) -> None:
    """Its stream has it and stores no other; the platform is asked for the result before."""
    seen = asked(caller)
    await caller.worker.bus.flush()
    caller.worker.answer = lambda _pack: None
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(caller, 5))
        await until(lambda: len(seen) == 2)
        caller.worker.store(caller.worker.packs[-1], echo(caller.worker.packs[-1]))
        assert await running == 5

    assert seen == [False, True]
    assert len(caller.worker.packs) == 5


@both_ways
async def test_refused_input_waits_for_room(caller: Caller, call: Call) -> None:
    """A full stream says nothing to a message that asks for no ack; the next one does."""
    spec = streams.input_stream(0)
    body = {"name": spec.name, "subjects": spec.subjects, **spec.config}
    await api(caller.worker.bus, f"STREAM.UPDATE.{spec.name}", {**body, "max_msgs": 1})
    await caller.worker.bus.publisher.publish("in.0.main.fu-other.hi.fc-x.0-1.1", b"x", msg_id="x")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(caller, 5))
        seen = asked(caller)
        await until(lambda: True in seen)
        assert len(caller.worker.packs) == 4
        await api(caller.worker.bus, f"STREAM.UPDATE.{spec.name}", body)
        assert await running == 5


@both_ways
async def test_input_that_a_killed_server_lost_is_sent_again(
    caller: Caller, own_server: NatsServer, call: Call
) -> None:
    """What was written to a connection that is dead already is nowhere."""
    before = {pack.call_id for pack in caller.worker.packs}
    assert await while_it_is_away(caller, own_server, call) == 5
    # One before may have come again: the server had not heard, or not stored, that it was done.
    assert len([pack for pack in caller.worker.packs if pack.call_id not in before]) == 1


async def test_look_that_fails_is_repeated_soon(
    caller: Caller, own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is just back may have no streams yet."""
    failures = 3

    async def fail_at_first(*args: Any) -> StoredMessage | None:
        nonlocal failures
        if failures:
            failures -= 1
            raise NoRespondersError("nobody listens yet")
        return await get_last(*args)

    monkeypatch.setattr(_inbox, "get_last", fail_at_first)
    monkeypatch.setattr(_inbox, "FIRST_SWEEP_S", 1000.0)
    assert await while_it_is_away(caller, own_server, awaited) == 5
    assert not failures


@both_ways
async def test_call_whose_result_is_stored_is_not_made_again(
    caller: Caller, own_server: NatsServer, call: Call
) -> None:
    """A server that was killed has forgotten the inputs that were done, and would store them anew."""
    client = caller.client if call is awaited else caller.uplink.portal_client
    assert client is not None
    for subscription in [s for s in client.bus.subscriptions if s.subject.startswith("res.")]:
        client.bus.publisher.loop.call_soon_threadsafe(subscription.close)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(caller, 5))
        await until(lambda: len(caller.worker.packs) == 5)
        await caller.worker.bus.publisher.settle()

        async def input_is_gone() -> bool:
            return await stored(caller.worker.bus, "IN_0") == 0

        await until_true(input_is_gone)
        await asyncio.to_thread(own_server.restart)
        assert await running == 5
    # One more than that would have come before this one.
    assert await caller.worker.bus.publisher.publish("in.0.main.fu-x.hi.fc-x.0-1.1", b"", msg_id="x")
    assert (await api(caller.worker.bus, "STREAM.INFO.IN_0"))["state"]["last_seq"] == 6
    assert len(caller.worker.packs) == 5


async def test_input_of_a_call_that_was_given_up_is_not_sent_again(caller: Caller) -> None:
    """Nobody waits for it, so nobody looks for it."""
    caller.worker.answer = lambda _pack: None
    seen = asked(caller)
    await caller.worker.bus.flush()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(awaited(caller, 5))
        await until(lambda: seen)
        running.cancel()
    await until(lambda: caller.worker.cancelled)
    caller.client._quick.add(caller.worker.record.function_id)
    # The next one is looked for after the time at which the first would have been.
    caller.worker.answer = lambda _pack: None
    async with asyncio.TaskGroup() as group:
        running = group.create_task(awaited(caller, 6))
        await until(lambda: len(seen) == 2)
        await until(lambda: len(seen) == 3)
        caller.worker.store(caller.worker.packs[-1], echo(caller.worker.packs[-1]))
        assert await running == 6
    assert seen == [False, False, True]
