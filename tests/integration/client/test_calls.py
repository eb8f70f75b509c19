"""Single calls, against a stand-in worker on a real server."""

import asyncio
import builtins
import threading
from typing import Any

import anyio
import pytest

from afield import FunctionCall, _blocked
from afield._bus.blobs import BlobStore
from afield._errors import to_error_info
from afield._wire import api, subjects
from afield._wire.codec import decode
from afield._wire.messages import BlobRef, InputPack, InputResult, Wake
from afield.exception import CallCancelledError, ClientClosed, InputCancellation, NotFoundError
from afield.serialization import dumps, loads_call
from support.callers import Caller
from support.echo_worker import echo
from support.waiting import until

pytestmark = pytest.mark.anyio


def never(_pack: InputPack) -> None:
    return None


def raising(error: Exception) -> Any:
    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        return (InputResult(index=pack.first, status="error", error=to_error_info(error)),)

    return answer


async def test_call_returns_its_result(caller: Caller) -> None:
    """One input, one result, on the lane of single calls."""
    assert await caller.function.remote.aio({"a": 1}) == {"a": 1}

    assert (caller.worker.packs[0].kind, caller.worker.lanes) == ("call", ["hi"])


async def test_call_raises_what_the_function_raised(caller: Caller) -> None:
    """The original type and arguments."""
    caller.worker.answer = raising(KeyError("missing"))

    with pytest.raises(KeyError, match="missing"):
        await caller.function.remote.aio(1)


async def test_cancelled_call_says_so(caller: Caller) -> None:
    """A result with the status `cancelled` has no exception of the user's."""
    caller.worker.answer = lambda _pack: (InputResult(index=0, status="cancelled"),)

    with pytest.raises(CallCancelledError):
        await caller.function.remote.aio(1)


async def test_cancelling_the_caller_cancels_the_call(caller: Caller) -> None:
    """Nobody waits for the result, so nobody should work for it."""
    caller.worker.answer = never
    async with asyncio.TaskGroup() as group:
        task = group.create_task(caller.function.remote.aio(1))
        await until(lambda: caller.worker.packs)
        task.cancel()

    await until(lambda: caller.worker.cancelled == [caller.worker.packs[0].call_id])
    assert len(caller.client.inbox) == 0


async def test_large_arguments_and_results_travel_as_blobs(caller: Caller) -> None:
    """Over the inline limit a reference is sent; both blobs are gone after the call."""
    value = bytes(range(256)) * 4096
    caller.worker.answer = never
    store = BlobStore(caller.worker.bus, "TMP")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(caller.function.remote.aio(value))
        await until(lambda: caller.worker.packs)
        pack = caller.worker.packs[0]
        (sent,) = pack.args
        assert isinstance(sent, BlobRef)
        assert loads_call(await store.get(sent.name)) == ((value,), {})
        data = dumps(value[::-1])
        digest = await store.put(f"{pack.call_id}.result", data.parts)
        result = BlobRef(tier="stream", name=f"{pack.call_id}.result", size=data.size, sha256=digest)
        caller.worker.store(pack, (InputResult(index=0, status="ok", value=result),))
        assert await task == value[::-1]

    await until(lambda: not caller.client._background)
    assert not await store.exists(sent.name)
    assert not await store.exists(result.name)


async def test_scheduler_is_woken(caller: Caller) -> None:
    """The first input of a function is told at once, with how many messages are out."""
    wakes: list[Wake] = []
    caller.worker.bus.open_subscription(
        subjects.wake(0), lambda _s, _r, _h, data: wakes.append(decode(Wake, data))
    )
    await caller.worker.bus.flush()
    await caller.function.remote.aio(1)

    await until(lambda: wakes)
    assert (wakes[0].function_id, wakes[0].outstanding) == (caller.worker.record.function_id, 1)


async def test_result_that_was_missed_is_read_back(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that got lost is found in the stream by the sweep."""
    monkeypatch.setattr("afield._inbox.FIRST_SWEEP_S", 0.0)
    monkeypatch.setattr("afield._inbox.SWEEP_EVERY_S", 0.01)
    for subscription in list(caller.client.bus.subscriptions):
        if subscription.subject.startswith("res."):
            subscription.close()

    assert await caller.function.remote.aio(5) == 5


async def test_call_that_the_platform_forgot_fails(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """When neither input nor result is stored any more, waiting has no end, so it is ended."""
    monkeypatch.setattr("afield._inbox.FIRST_SWEEP_S", 0.0)
    monkeypatch.setattr("afield._inbox.LAST_SWEEP_S", 0.0)
    monkeypatch.setattr("afield._inbox.GONE_AGE_S", 0.0)
    monkeypatch.setattr("afield._inbox.SWEEP_EVERY_S", 0.01)
    caller.worker.answer = never

    with pytest.raises(Exception, match="knows nothing of call"):
        await caller.function.remote.aio(1)


async def test_closing_the_client_ends_its_calls(caller: Caller) -> None:
    """Whoever waits is told."""
    caller.worker.answer = never

    async def call() -> None:
        with pytest.raises(ClientClosed):
            await caller.function.remote.aio(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        await until(lambda: caller.worker.packs)
        await caller.client._close()


async def test_spawned_call_is_fetched_later(caller: Caller) -> None:
    """The result can be had as often as wanted, also by another handle."""
    call = await caller.function.spawn.aio(7)

    assert await call.get.aio() == 7
    assert await call.get.aio(timeout=0) == 7
    assert caller.worker.packs[0].kind == "spawn"


async def test_spawned_call_without_a_result_times_out(caller: Caller) -> None:
    """The builtin TimeoutError, after one look with timeout 0."""
    caller.worker.answer = never
    call = await caller.function.spawn.aio(7)

    for timeout in (0, 0.01):
        with pytest.raises(builtins.TimeoutError, match=call.object_id):
            await call.get.aio(timeout=timeout)


async def test_spawned_call_is_waited_for(caller: Caller) -> None:
    """A result that comes while somebody waits arrives by message."""
    caller.worker.answer = never
    call = await caller.function.spawn.aio(7)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call.get.aio())
        await until(lambda: caller.client.inbox._watchers and caller.worker.packs)
        caller.worker.store(caller.worker.packs[0], echo(caller.worker.packs[0]))
        assert await task == 7


async def test_call_of_another_session_is_found_by_its_id(caller: Caller) -> None:
    """Only the id is needed."""
    spawned = await caller.function.spawn.aio(7)
    await until(lambda: caller.worker.packs)
    async with caller.client.open(caller.client.address, "main") as other:
        uplink = caller.uplink
        uplink._clients[asyncio.get_running_loop()] = other
        found = FunctionCall.from_id(spawned.object_id)
        found._uplink = uplink
        caller.worker.state = api.CallState(
            call_id=spawned.object_id, pending=(), finished=("0-1",), inputs=1
        )

        assert await found.get.aio() == 7
        assert await found.num_inputs.aio() == 1
        uplink._clients[asyncio.get_running_loop()] = caller.client


async def test_unknown_call_is_not_waited_for(caller: Caller) -> None:
    """An id that the platform does not know is an error, not an endless wait."""
    call = FunctionCall.from_id(f"fc-{caller.client.session}-0-999")
    call._uplink = caller.uplink

    with pytest.raises(NotFoundError, match="knows no call"):
        await call.get.aio()


async def test_gather_returns_results_in_order(caller: Caller) -> None:
    """Whichever ends first."""
    calls = [await caller.function.spawn.aio(i) for i in range(5)]

    assert await FunctionCall.gather.aio(*calls) == [0, 1, 2, 3, 4]


async def test_gather_raises_the_first_failure(caller: Caller) -> None:
    """The others are not waited for."""
    caller.worker.answer = never
    waiting = await caller.function.spawn.aio(0)
    caller.worker.answer = raising(KeyError("x"))
    failing = await caller.function.spawn.aio(1)

    with pytest.raises(KeyError):
        await FunctionCall.gather.aio(waiting, failing)


async def test_cancel_reaches_the_scheduler(caller: Caller) -> None:
    """By the call's id."""
    caller.worker.answer = never
    call = await caller.function.spawn.aio(7)
    await call.cancel.aio()

    assert caller.worker.cancelled == [call.object_id]


async def test_cancellation_that_takes_long_goes_on(caller: Caller) -> None:
    """A million inputs are not ended at once: the scheduler says so, and is asked again."""
    caller.worker.answer = never
    caller.worker.unavailable = 3
    call = await caller.function.spawn.aio(7)
    await call.cancel.aio()

    assert caller.worker.cancelled == [call.object_id] * 4


async def test_spawn_map_is_one_call(caller: Caller) -> None:
    """All inputs are stored under one id; results are asked for by index, or in order."""
    call = await caller.function.spawn_map.aio(range(1500))
    await until(lambda: sum(len(pack.args) for pack in caller.worker.packs) == 1500)
    tokens = tuple(str(subjects.Pack(pack.first, len(pack.args))) for pack in caller.worker.packs)
    caller.worker.state = api.CallState(call_id=call.object_id, pending=(), finished=tokens, inputs=1500)

    assert await call.num_inputs.aio() == 1500
    assert await call.get.aio(index=1234) == 1234
    assert [value async for value in call.iter.aio(start=998, end=1002)] == [998, 999, 1000, 1001]
    assert {pack.call_id for pack in caller.worker.packs} == {call.object_id}
    assert set(caller.worker.lanes) == {"lo"}


async def test_call_from_a_loop_without_a_client_is_bridged(caller: Caller) -> None:
    """Another loop, in another thread, uses the portal's connection."""

    def elsewhere() -> Any:
        return asyncio.run(caller.function.remote.aio(3))

    assert await anyio.to_thread.run_sync(elsewhere) == 3


async def test_blocking_call_from_a_thread(caller: Caller) -> None:
    """The first goes the long way, as it opens the connection; the second the quick one."""

    def blocking() -> Any:
        return [caller.function.remote(i) for i in range(3)]

    assert await anyio.to_thread.run_sync(blocking) == [0, 1, 2]


async def test_blocking_call_raises_what_the_function_raised(caller: Caller) -> None:
    """On the quick way, too."""
    await anyio.to_thread.run_sync(caller.function.remote, 1)
    caller.worker.answer = raising(KeyError("missing"))

    with pytest.raises(KeyError, match="missing"):
        await anyio.to_thread.run_sync(caller.function.remote, 1)


async def test_woken_blocking_call_is_cancelled(caller: Caller) -> None:
    """A thread of a container whose input is interrupted waits no more, and nobody works for it."""
    await anyio.to_thread.run_sync(caller.function.remote, 1)
    caller.worker.answer = never
    thread = 0

    def blocking() -> None:
        nonlocal thread
        thread = threading.get_ident()
        with pytest.raises(InputCancellation):
            caller.function.remote(2)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(blocking))
        await until(lambda: len(caller.worker.packs) == 2 and thread in _blocked._wakers)
        _blocked.wake(thread)

    await until(lambda: caller.worker.cancelled == [caller.worker.packs[1].call_id])
