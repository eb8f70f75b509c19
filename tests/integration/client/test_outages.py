"""Calls over a restart of the server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from afield.output import enable_output
from support.callers import Caller, caller_on
from support.echo_worker import echo
from support.nats import NatsServer
from support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def caller(own_server: NatsServer) -> AsyncIterator[Caller]:
    """A caller on it."""
    async with caller_on(own_server.url) as made:
        yield made


async def test_call_survives_a_restart(caller: Caller, own_server: NatsServer) -> None:
    """A result that is stored after the outage reaches whoever waited through it."""
    caller.worker.answer = lambda _pack: None
    async with asyncio.TaskGroup() as group:
        call = group.create_task(caller.function.remote.aio(5))
        await until(lambda: caller.worker.packs)
        await asyncio.to_thread(own_server.restart)
        await until(lambda: caller.worker.bus.connected)
        caller.worker.store(caller.worker.packs[0], echo(caller.worker.packs[0]))
        assert await call == 5


async def test_result_stored_while_away_is_read_back(caller: Caller, own_server: NatsServer) -> None:
    """A result whose message came while the client was away is found after its reconnect."""
    caller.worker.answer = lambda _pack: None
    async with asyncio.TaskGroup() as group:
        call = group.create_task(caller.function.remote.aio(5))
        await until(lambda: caller.worker.packs)
        for subscription in [s for s in caller.client.bus.subscriptions if s.subject.startswith("res.")]:
            subscription.close()  # as if the message had come while the connection was down
        caller.worker.store(caller.worker.packs[0], echo(caller.worker.packs[0]))
        await caller.worker.bus.publisher.settle()
        await asyncio.to_thread(own_server.restart)
        assert await call == 5


async def test_call_made_while_the_server_is_away_is_sent_when_it_is_back(
    caller: Caller, own_server: NatsServer
) -> None:
    """A short outage is a delay, not an error."""
    own_server.kill9()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(caller.function.remote.aio(5))
        await until(lambda: not caller.client.bus.connected)
        await asyncio.to_thread(own_server.start)
        assert await call == 5


async def test_map_survives_a_restart(caller: Caller, own_server: NatsServer) -> None:
    """Nothing is lost, nothing comes twice."""
    held = 500

    def answer(pack: object) -> None:
        return None

    caller.worker.answer = answer
    results: list[int] = []

    async def consume() -> None:
        results.extend([value async for value in caller.function.map.aio(range(held))])

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        await until(lambda: sum(len(pack.args) for pack in caller.worker.packs) == held)
        await asyncio.to_thread(own_server.restart)
        await until(lambda: caller.worker.bus.connected)
        for pack in list(caller.worker.packs):
            caller.worker.store(pack, echo(pack))

    assert results == list(range(held))


async def test_an_outage_is_told_with_output_enabled(
    caller: Caller, own_server: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """In two lines of ours; what the library logs about it does not reach the user."""
    with enable_output():
        own_server.kill9()
        await until(lambda: not caller.client.bus.connected)
        await asyncio.to_thread(own_server.start)
        await until(lambda: caller.client.bus.connected)
        assert await caller.function.remote.aio(5) == 5

    told = [line for line in capfd.readouterr().err.splitlines() if "connection" in line]
    assert told == [
        "afield: connection to the platform lost, reconnecting",
        "afield: connection to the platform is back",
    ]
