"""Calls while the input stream is full."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import afield
from afield._wire import streams, subjects
from afield._wire.api import FunctionStats
from afield.exception import ResourceExhaustedError
from support.callers import Caller, caller_on, into
from support.echo_worker import echo
from support.nats import NatsServer
from support.streams import api
from support.waiting import until

pytestmark = pytest.mark.anyio

ROOM = 10
"""Messages that the input stream of these tests takes."""


@pytest.fixture
async def caller(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Caller]:
    """A caller whose input stream takes few messages. The test's parameter `generator` makes its function one."""
    with NatsServer(tmp_path) as server:
        async with caller_on(server.url, is_generator=getattr(request, "param", "") == "generator") as made:
            spec = streams.input_stream(0)
            body = {"name": spec.name, "subjects": spec.subjects, **spec.config, "max_msgs": ROOM}
            await api(made.worker.bus, f"STREAM.UPDATE.{spec.name}", body)
            made.worker.stats = FunctionStats(
                backlog=7, containers=0, inputs_running=0, input_headroom=0, queued=ROOM, max_queued=ROOM
            )
            yield made


async def fill(caller: Caller) -> None:
    """Leave no room: the stream keeps these, as nobody takes them."""
    for number in range(ROOM):
        subject = subjects.InputSubject(
            0, "main", "fu-other", "lo", "fc-other-0-1", subjects.Pack(number, 1), 1
        )
        await caller.worker.bus.publisher.publish(str(subject), b"", msg_id=str(number))


async def make_room(caller: Caller) -> None:
    """Take out what `fill` put in."""
    await api(caller.worker.bus, "STREAM.PURGE.IN_0", {"filter": "in.0.main.fu-other.>"})


async def all_stored(caller: Caller, inputs: int) -> None:
    """Wait until the results of so many inputs are stored."""
    await until(lambda: sum(len(pack.args) for pack in caller.worker.packs) == inputs)
    await until(lambda: not caller.worker.bus.publisher.in_flight)


async def test_call_waits_for_room(caller: Caller) -> None:
    """A stream that is full for a moment is a delay, not an error."""
    await fill(caller)
    async with asyncio.TaskGroup() as group:
        single = group.create_task(caller.function.remote.aio(1))
        spawned = group.create_task(caller.function.spawn.aio(2))
        await until(lambda: len(caller.client.inbox))
        await make_room(caller)

    assert single.result() == 1
    assert await spawned.result().get.aio() == 2


async def test_waiting_for_room_is_told(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a call, where output is enabled: nobody wonders why nothing happens."""
    monkeypatch.setattr("afield._room.TOLD_S", 0.2)
    await fill(caller)
    said: list[str] = []

    def told() -> bool:
        said.append(capsys.readouterr().err)
        return "no room" in "".join(said)

    with afield.enable_output():
        async with asyncio.TaskGroup() as group:
            spawning = group.create_task(caller.function.spawn_map.aio(range(20)))
            await until(told)
            await make_room(caller)
        await all_stored(caller, 20)
        await spawning.result().get.aio(index=19)
    said.append(capsys.readouterr().err)

    line = "afield: f: the platform has no room for more inputs; waiting until some have ended"
    assert "".join(said).splitlines() == [line]


@pytest.mark.parametrize(
    ("caller", "how"),
    [("", "remote"), ("", "spawn"), ("", "spawn_map"), ("", "map"), ("generator", "remote_gen")],
    indirect=["caller"],
)
async def test_full_stream_is_told(caller: Caller, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """When patience is over, the caller learns which function, how much waits, and what the limit is."""
    for name in ("_spawn.SPAWN_PATIENCE_S", "_platform.PATIENCE_S", "_map_run.PATIENCE_S"):
        monkeypatch.setattr(f"afield.{name}", 0.2)
    await fill(caller)
    function = caller.function

    async def call() -> None:
        match how:
            case "map":
                await into([], function.map.aio(range(50)))
            case "remote_gen":
                await into([], function.remote_gen.aio(1))
            case "spawn_map":
                await function.spawn_map.aio(range(50))
            case _:
                await getattr(function, how).aio(1)

    with pytest.raises(ResourceExhaustedError, match=rf"function 'f'.*7 inputs.*{ROOM} in all, of {ROOM}"):
        await call()
    assert caller.worker.packs == []


async def test_call_that_is_cancelled_while_it_waits_for_room_is_never_stored(caller: Caller) -> None:
    """Nobody would take its result."""
    await fill(caller)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(caller.function.remote.aio(1))
        await until(lambda: len(caller.client.inbox))
        task.cancel()
    await until(lambda: caller.worker.cancelled)
    await make_room(caller)

    assert await caller.function.remote.aio(2) == 2
    assert len(caller.worker.packs) == 1


async def test_map_goes_on_as_its_inputs_end(caller: Caller) -> None:
    """It keeps the stream full and no fuller; nothing is lost, nothing comes twice, however small the stream is."""
    results = [value async for value in caller.function.map.aio(range(1000))]

    assert results == list(range(1000))


async def test_map_is_patient_while_results_come(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its own inputs, so only a time without any result is a time without progress."""
    monkeypatch.setattr("afield._map_run.PATIENCE_S", 0.5)
    caller.worker.answer = lambda _pack: None
    results: list[int] = []

    async def consume() -> None:
        results.extend([value async for value in caller.function.map.aio(range(200))])

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        while len(results) < 200:
            await until(lambda: caller.worker.packs or results)
            await asyncio.sleep(0.05)
            for pack in list(caller.worker.packs):
                caller.worker.packs.remove(pack)
                caller.worker.store(pack, echo(pack))

    assert results == list(range(200))


async def test_spawn_map_waits_for_room(caller: Caller) -> None:
    """More inputs than fit are stored as others leave."""
    call = await caller.function.spawn_map.aio(range(500))
    await all_stored(caller, 500)

    assert await call.get.aio(index=499) == 499
    assert await call.num_inputs.aio() == 500
