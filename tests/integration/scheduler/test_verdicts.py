"""What cannot run is told, and its inputs end: with a real registry and scheduler, and workers that only take notes."""

import time
from dataclasses import replace

import anyio
import pytest

from afield._wire import api
from afield._wire.functions import FunctionRecord, Options, Resources, Scaling
from afield._wire.messages import ErrorInfo
from afield_common import endings
from afield_scheduler.backoff import HOPELESS
from support.fake_worker import FakeWorker, fake_worker
from support.records import create, publish, spec
from support.waiting import until, until_true
from support.world import World, scheduler, until_looked_again

pytestmark = pytest.mark.anyio

HUGE = Resources(cpu=64.0)
NO_MODULE = ErrorInfo(kind="startup", message="ModuleNotFoundError: no module named 'usercode'")


async def ended(world: World, number: int) -> list[ErrorInfo]:
    """Wait until nothing waits any more; the errors of that many results."""
    await until_true(lambda: nothing_waits(world))
    results = await world.results()
    assert len(results) == number
    assert {result.status for result in results} == {"error"}
    return [result.error for result in results if result.error is not None]


async def nothing_waits(world: World) -> bool:
    return not await world.waiting()


# -- what no worker can ever run ----------------------------------------------------------------------


async def test_what_fits_nowhere_ends_with_the_reasons(world: World) -> None:
    """All inputs that wait end at once, worker by worker why; people are told, and nothing is started."""
    heard = await world.events("function.failing")
    f = await world.function(resources=HUGE, labels={"region": ("eu",)})
    async with fake_worker(world.bus) as one, fake_worker(world.bus, cpus=64.0) as two:
        await world.send(f, 3)
        errors = await ended(world, 3)
        assert {error.kind for error in errors} == {"unschedulable"}
        assert f"{one.worker_id} has 2 cores, 64 are asked for" in errors[0].message
        assert f"{two.worker_id} has no region, eu is asked for" in errors[0].message
        await until(lambda: heard)
        assert (heard[0].function_id, "3 inputs" in heard[0].detail) == (f.function_id, True)
        await world.send(f)
        assert len(await ended(world, 4)) == 4
        assert one.started == two.started == []


async def test_end_goes_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, each has its result before the last message is gone; those of others go on."""
    monkeypatch.setattr(endings, "PAGE", 16)
    f, other = await world.function(resources=HUGE), await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(other)
        await world.send(f, 100)
        await until_true(lambda: one_waits(world))
        assert len(await world.results()) == 100
        await until(lambda: worker.started)


async def one_waits(world: World) -> bool:
    return await world.waiting() == 1


async def test_gpus_are_matched(world: World) -> None:
    """The preferred kind that is free first, wherever it is; what nobody has ends at once."""
    choice = await world.function(resources=Resources(gpu=("H100", "A100", "any")))
    never = await world.function(resources=Resources(gpu=("B200:2",)))
    async with fake_worker(world.bus, gpus=("A100",)) as one, fake_worker(world.bus, gpus=("H100",)) as two:
        await world.send(choice)
        await until(lambda: two.containers)
        await world.send(choice, 2)
        await until(lambda: one.containers)
        await world.send(never)
        await until_true(lambda: some_ended(world))
        assert "B200:2 is asked for" in (await world.results())[0].error.message  # type: ignore[union-attr]


async def some_ended(world: World) -> bool:
    return bool(await world.results())


async def test_whoever_fits_later_is_waited_for(world: World) -> None:
    """A worker that could run it, and is full, drains, or left a moment ago, is a reason to wait, not to give up."""
    f = await world.function(resources=Resources(memory_mib=5000))
    async with fake_worker(world.bus):
        async with fake_worker(world.bus, memory_mib=8000) as big:
            await big.report(draining=True)
            await world.send(f)
            await until_true(lambda: reason(world, f, "drained"))
            await big.die()
            await until_true(lambda: reason(world, f, "no worker can run it"))
        await until_looked_again(world)
        assert await world.waiting() == 1
        async with fake_worker(world.bus, memory_mib=8000) as again:
            await until(lambda: again.containers)
            await until_true(lambda: no_reason(world))


async def reason(world: World, f: FunctionRecord, says: str) -> bool:
    return says in (await world.stats()).waiting.get(f.function_id, "")


async def no_reason(world: World) -> bool:
    return not (await world.stats()).waiting


async def test_who_waits_long_is_told_why(world: World) -> None:
    """After a second or so, with the reason."""
    heard = await world.events("function.waiting")
    f = await world.function(resources=Resources(memory_mib=3000))
    async with fake_worker(world.bus) as worker:
        await worker.report(draining=True)
        await world.send(f)
        await until(lambda: heard)
        assert (heard[0].function_id, "drained" in heard[0].detail) == (f.function_id, True)


# -- code that fails to start -------------------------------------------------------------------------


async def fail(worker: FakeWorker, f: FunctionRecord, times: int, error: ErrorInfo | None) -> None:
    """Let that many containers fail, one after the other."""
    worker.comes_up = False

    def untold() -> list[str]:
        return [each.container_id for each in worker.started if each.container_id not in worker.told]

    for _ in range(times):
        await until(untold)
        await worker.tell("container.failed", f, untold()[0], error=error)


async def test_code_that_fails_to_start_ends_all_that_waits(world: World) -> None:
    """After the third container in a row, with what the last one said; later inputs wait for another try."""
    heard = await world.events("function.failing")
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f, 4)
        await fail(worker, f, HOPELESS - 1, NO_MODULE)
        assert await world.waiting() == 4
        await fail(worker, f, 1, NO_MODULE)
        assert await ended(world, 4) == [NO_MODULE] * 4
        await until(lambda: heard)
        assert heard[0].error == NO_MODULE
        await until_looked_again(world)
        assert len(worker.started) == HOPELESS
        worker.comes_up = True
        await world.send(f)
        await until(lambda: worker.containers)
        assert await world.waiting() == 1


async def test_faults_of_workers_end_nothing(world: World) -> None:
    """Who cannot start for reasons of the platform is tried for as long as it takes."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await fail(worker, f, HOPELESS, None)
        await until_looked_again(world)
        assert await world.waiting() == 1


async def test_new_code_is_not_blamed_for_the_old(world: World) -> None:
    """Containers of a version that was replaced may fail late; what waits is the new one's."""
    f = await world.function(scaling=Scaling(min_containers=HOPELESS))
    async with fake_worker(world.bus) as worker:
        worker.comes_up = False
        await until(lambda: len(worker.started) == HOPELESS)
        old = [each.container_id for each in worker.started]
        changed = replace(f.spec, timeout=9.0)
        await world.bus.call(api.APP_PUBLISH, publish(changed, app_id=f.app_id))
        await world.send(f)
        for container_id in old:
            await worker.tell("container.failed", f, container_id, error=NO_MODULE)
        await until(lambda: any(s.function.version == 2 for s in worker.started))
        await until_looked_again(world)
        assert await world.waiting() == 1
        assert await world.results() == []


async def test_whoever_is_ready_runs_the_inputs(world: World) -> None:
    """Others may fail beside it: nothing is given up."""
    f = await world.function(scaling=Scaling(min_containers=1))
    async with fake_worker(world.bus) as worker:
        await until(lambda: worker.containers)
        for n in range(HOPELESS):
            await worker.tell("container.failed", f, f"ta-{n}", error=NO_MODULE)
        await world.send(f)
        await until_looked_again(world)
        assert await world.waiting() == 1


# -- figures --------------------------------------------------------------------------------------------


async def stats_of(world: World, f: FunctionRecord) -> api.FunctionStats:
    request = api.FunctionStatsRequest(ws="main", function_id=f.function_id)
    return await world.bus.call(api.FUNCTION_STATS, request, timeout=20)


async def test_function_stats(world: World) -> None:
    """What waits, who is there, what runs, and what could run besides."""
    f = await world.function(scaling=Scaling(max_containers=2))
    async with fake_worker(world.bus, pack_seconds={f.function_id: 60.0}) as worker:
        await world.send(f, 5)
        await until(lambda: len(worker.containers) == 2)
        await worker.report(inputs_running={f.function_id: 2})
        await until_true(lambda: running(world, f, 2))
        stats = await stats_of(world, f)
        assert (stats.backlog, stats.containers, stats.input_headroom) == (5, 2, 0)
        await world.purge()
        await worker.idle_since(time.time())
        await until_true(lambda: headroom(world, f, 2))
        assert (await stats_of(world, f)).backlog == 0
    with pytest.raises(Exception, match="no function fu-none"):
        await stats_of(world, replace(f, function_id="fu-none"))


async def test_inputs_are_counted_and_not_messages(world: World) -> None:
    """Maps send many inputs in one message."""
    f = await world.function()
    await world.send(f, 3, size=64)
    await world.send(f, 1)
    assert (await stats_of(world, f)).backlog == 193


async def running(world: World, f: FunctionRecord, number: int) -> bool:
    return (await stats_of(world, f)).inputs_running == number


async def headroom(world: World, f: FunctionRecord, number: int) -> bool:
    return (await stats_of(world, f)).input_headroom == number


async def test_worker_that_does_not_pull_is_noticed(world: World) -> None:
    """Inputs wait, a container is free, and nobody asks for them: that is said, until somebody does."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers)
        await worker.idle_since(time.time())
        await until_true(lambda: noticed(world, worker.worker_id), timeout=30)
        (notice,) = (await world.stats()).notices
        assert f.function_id in notice
        await world.purge()
        await until_true(lambda: unnoticed(world))
        await worker.report(stalled="its disk is full")
        await until_true(lambda: noticed(world, "its disk is full"))


async def noticed(world: World, says: str) -> bool:
    return any(says in notice for notice in (await world.stats()).notices)


async def unnoticed(world: World) -> bool:
    return not (await world.stats()).notices


# -- changes --------------------------------------------------------------------------------------------


async def test_scaling_is_followed_at_once(world: World) -> None:
    """More containers come, and those that are too many go: idle ones now, busy ones when they have finished."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:

        async def scale(**settings: int) -> None:
            request = api.ScaleFunction(ws="main", function_id=f.function_id, **settings)
            await world.bus.call(api.FUNCTION_SCALE, request)

        await scale(min_containers=3)
        await until(lambda: len(worker.containers) == 3)
        await scale(min_containers=0, max_containers=1)
        await until(lambda: len(worker.stopped) == 2)
        assert all(stop.when_idle for stop in worker.stopped)
        await worker.idle_since(time.time())
        await scale(max_containers=1)
        await until(lambda: len(worker.containers) == 1)


async def test_variants_have_containers_of_their_own(world: World) -> None:
    """A variant is started with its own record, and stopped with the app of its base."""
    made = await world.bus.call(api.APP_CREATE, create())
    published = await world.bus.call(api.APP_PUBLISH, publish(spec("f"), app_id=made.app_id))
    base = published.functions[0]
    async with fake_worker(world.bus) as worker:
        request = api.BindFunction(ws="main", function_id=base.function_id, options=Options(memory_mib=777))
        variant = await world.bus.call(api.FUNCTION_BIND, request)
        await world.send(base)
        await world.send(variant)
        await until(lambda: len(worker.containers) == 2)
        asked = {each.function.function_id: each.function for each in worker.started}
        assert asked[variant.function_id] == variant
        assert asked[base.function_id] == base
        await world.stop_app(base)
        await until(lambda: not worker.containers)


async def test_bounded_function_waits_for_the_last_one_to_leave(world: World) -> None:
    """With one container at most, its successor is started when it is gone, not when it was told to go."""
    f = await world.function(scaling=Scaling(max_containers=1))
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers)
        first = worker.containers[0]
        await worker.report(containers=(replace(first, state="stopping"),))
        await until_looked_again(world)
        assert len(worker.started) == 1
        await worker.report(containers=())
        await worker.tell("container.stopped", f, first.container_id)
        await until(lambda: len(worker.started) == 2)


async def test_nothing_is_given_up_in_the_first_moments(registry: World) -> None:
    """A scheduler that begins to lead may not have heard of all workers yet."""
    f = await registry.function(resources=HUGE)
    async with fake_worker(registry.bus):
        await registry.send(f)
        async with scheduler(registry.bus.address.url):
            while not (await registry.stats()).waiting:  # noqa: ASYNC110 - asked
                await anyio.sleep(0.02)
            async with fake_worker(registry.bus, cpus=64.0) as big:
                await until(lambda: big.containers)
    assert await registry.results() == []
