"""Runs of apps on a real platform: registry, scheduler, worker and containers."""

import asyncio
import builtins
import os
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import afield
from afield import App, Function, FunctionCall
from afield.embedded import Platform
from afield.exception import AsyncUsageWarning, ExecutionError, InvalidError, NotFoundError
from support import sample_app
from support.sample_app import app
from support.waiting import until

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def running() -> Iterator[App]:
    """The sample app, running."""
    with app.run() as made:
        yield made


def test_functions_run_elsewhere(running: App) -> None:
    """In another process, with the module's own code."""
    assert sample_app.square.remote(7) == 49
    assert sample_app.pid.remote() != os.getpid()
    assert sample_app.later.remote(1) == 2
    assert str(running.app_id).startswith("ap-")
    assert sample_app.square.object_id.startswith("fu-")


def test_generators_run_elsewhere(running: App) -> None:
    """Plain and asynchronous ones."""
    assert list(sample_app.count.remote_gen(100)) == list(range(100))
    assert list(sample_app.acount.remote_gen(3)) == [0, 1, 2]


def test_maps_run_elsewhere(running: App) -> None:
    """In order."""
    assert list(sample_app.square.map(range(300))) == [i * i for i in range(300)]


def test_errors_come_back_as_they_were(running: App) -> None:
    """Type, attributes and the remote frames."""
    with pytest.raises(sample_app.CustomError, match="code 7") as caught:
        sample_app.fail.remote(7)

    assert caught.value.code == 7
    assert any(entry.name == "fail" for entry in caught.traceback)


def test_spawned_calls_are_fetched_later(running: App) -> None:
    """By the handle, by its id, and several at once."""
    call = sample_app.square.spawn(5)

    assert FunctionCall.from_id(call.object_id).get() == 25
    assert call.num_inputs() == 1
    assert FunctionCall.gather(call, sample_app.square.spawn(6)) == [25, 36]


def test_call_without_a_result_times_out(running: App) -> None:
    """And can be cancelled."""
    call = sample_app.sleep.spawn(60)
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=0)
    call.cancel()

    with pytest.raises(ExecutionError):
        call.get(timeout=30)


def test_functions_call_each_other(running: App) -> None:
    """From inside a container, by name and as an argument."""
    assert sample_app.nested.remote(5) == 30 + 100
    assert sample_app.call_it.remote(sample_app.square, 4) == 16


def test_large_values_go_there_and_back(running: App) -> None:
    """Over the inline limit."""
    value = os.urandom(1_000_000)

    assert sample_app.echo.remote(value) == value


def test_functions_can_be_looked_up(running: App) -> None:
    """By the app's name, or by id."""
    assert Function.from_name("sample", "square").remote(3) == 9
    assert Function.from_id(sample_app.square.object_id).remote(3) == 9
    assert App.lookup("sample").app_id == running.app_id


def test_unknown_functions_are_not_found(running: App) -> None:
    """When they are first used."""
    with pytest.raises(NotFoundError, match="nonsense"):
        Function.from_name("sample", "nonsense").remote(1)


def test_tags_are_the_platforms(running: App) -> None:
    """Asked for while the app runs, they come from the registry."""
    assert running.get_tags() == {"kind": "test"}


def test_second_run_at_the_same_time_is_refused(running: App) -> None:
    """An app runs once at a time."""
    with pytest.raises(InvalidError, match="runs already"), app.run():
        pass


def test_functions_of_an_included_app_run(platform: Platform) -> None:
    """Under the app that included them."""
    outer = App("outer").include(sample_app.other)
    with outer.run():
        assert sample_app.triple.remote(4) == 12


def test_run_ends_with_its_block(platform: Platform) -> None:
    """Afterwards the functions cannot be called, and the id is still known."""
    with app.run():
        assert sample_app.square.remote(1) == 1

    assert app.app_id is not None
    with pytest.raises(InvalidError, match="hydrated"):
        sample_app.square.remote(1)


def test_map_cannot_be_read_on_after_its_run(platform: Platform) -> None:
    """What is missing is said in the user's words."""
    with app.run():
        results = sample_app.square.map(range(5))
        assert next(results) == 0

    with pytest.raises(InvalidError, match="has ended"):
        list(results)


@pytest.mark.anyio
async def test_map_cannot_be_read_on_after_its_run_on_a_loop(platform: Platform) -> None:
    """The same for `async for`."""
    async with app.run():
        results = sample_app.square.map.aio(range(5))
        assert await anext(results) == 0

    with pytest.raises(InvalidError, match="has ended"):
        await anext(results)


def test_generator_that_is_left_after_its_run_is_quiet(
    platform: Platform, recwarn: pytest.WarningsRecorder
) -> None:
    """There is nothing left to cancel."""
    with app.run():
        values = sample_app.count.remote_gen(100_000)
        assert next(values) == 0

    values.close()
    assert not recwarn.list


def test_errors_of_the_block_are_its_own(platform: Platform) -> None:
    """They leave the block as they are, and the run ends all the same."""
    with pytest.raises(SystemExit) as caught, app.run():
        raise SystemExit(3)

    assert caught.value.code == 3
    with app.run():
        assert sample_app.square.remote(2) == 4


def test_functions_that_no_module_defines_travel_by_value(platform: Platform) -> None:
    """With what they refer to, also other functions of the app."""
    local = App("local")
    factor = 3

    @local.function(serialized=True)
    def times(x: int) -> int:
        return factor * x

    @local.function(serialized=True)
    def twice(x: int) -> int:
        return 2 * times.remote(x)

    with local.run():
        assert times.remote(5) == 15
        assert twice.remote(5) == 30


def test_stopping_an_app_ends_its_run(platform: Platform) -> None:
    """Calls are refused from then on."""
    with app.run() as running:
        running.stop()
        with pytest.raises(InvalidError, match="does not run"):
            sample_app.square.remote(1)


@pytest.mark.anyio
async def test_stopping_an_app_ends_the_calls_under_way(platform: Platform) -> None:
    """Whoever waits for a result is told, with the reason."""

    async def call() -> None:
        with pytest.raises(ExecutionError, match="was stopped"):
            await sample_app.sleep.remote.aio(60)

    async with app.run() as running, asyncio.TaskGroup() as group:
        task = group.create_task(call())
        await until(lambda: running._running is not None and len(running._running.client.inbox))
        await running.stop.aio()
        await task


def test_output_reaches_the_caller_before_the_result(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    """Live, without a newline too, and only when enabled."""
    with afield.enable_output(show_progress=False), app.run():
        sample_app.say.remote("half a line", end="")
        assert capsys.readouterr().out == "half a line"


def test_run_is_silent_by_default(running: App, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is shown that was not asked for."""
    sample_app.say.remote("quiet")

    assert capfd.readouterr() == ("", "")


@pytest.mark.anyio
async def test_run_on_a_loop(platform: Platform) -> None:
    """Everything happens on the loop that it was opened on."""
    async with app.run():
        assert await sample_app.square.remote.aio(3) == 9
        assert [v async for v in sample_app.square.map.aio(range(50))] == [i * i for i in range(50)]
        assert [v async for v in sample_app.count.remote_gen.aio(3)] == [0, 1, 2]
        call = await sample_app.square.spawn.aio(4)
        assert await call.get.aio() == 16


@pytest.mark.anyio
async def test_blocking_call_on_a_loop_warns(platform: Platform) -> None:
    """It works, by way of another thread, and says what to write."""
    async with app.run():
        with pytest.warns(AsyncUsageWarning, match=r"remote\.aio"):
            assert sample_app.square.remote(3) == 9


@pytest.mark.anyio
async def test_many_calls_at_a_time(platform: Platform) -> None:
    """Each finds its own result."""
    results: dict[int, Any] = {}

    async def call(x: int) -> None:
        results[x] = await sample_app.square.remote.aio(x)

    async with app.run(), anyio.create_task_group() as tasks:
        for x in range(100):
            tasks.start_soon(call, x)

    assert results == {x: x * x for x in range(100)}


def test_asynchronous_calls_inside_a_blocking_run(running: App) -> None:
    """A loop of the user's own, with the portal's connection."""
    assert asyncio.run(sample_app.square.remote.aio(3)) == 9
