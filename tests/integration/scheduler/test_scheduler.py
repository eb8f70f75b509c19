"""The scheduler on a real server, with a registry, and workers that only take notes."""

import time
from dataclasses import replace

import anyio
import pytest
from anyio.abc import TaskStatus

from afield._wire import api, subjects
from afield._wire.functions import FunctionRecord, Resources, Scaling
from afield._wire.subjects import Lane
from afield_common.jetstream import JetStream
from afield_registry import apps
from afield_scheduler import director
from support.fake_worker import FakeWorker, fake_worker
from support.nats import NatsServer
from support.waiting import until
from support.world import World, scheduler, until_looked_again

pytestmark = pytest.mark.anyio


async def test_wake_starts_one_container(world: World) -> None:
    """A call of a function without containers gets one, on a worker, with the function's record."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.started)
        await world.wake(f)
        await until_looked_again(world)
    assert [s.function for s in worker.started] == [f]


async def test_wake_that_overtakes_the_record_is_kept(world: World) -> None:
    """A wake-up for a function that is not known yet counts as soon as it is."""
    async with fake_worker(world.bus) as worker:
        for _ in range(5):
            f = await world.function()
            await world.wake(f)
            await until(lambda wanted=f: any(s.function == wanted for s in worker.started))  # type: ignore[misc]


async def test_lost_wake_is_found_by_the_sweep(world: World) -> None:
    """Inputs whose wake-up was lost are seen within a sweep."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f, wake=False)
        await until(lambda: worker.started)


async def test_backlog_fills_the_host_but_not_more(world: World) -> None:
    """Many packs of unknown run time get a container each, until the host is full."""
    f = await world.function(resources=Resources(cpu=0.25))
    async with fake_worker(world.bus, cpus=2.0) as worker:
        await world.send(f, 50)
        await until(lambda: len(worker.containers) == 8)
        await until_looked_again(world)
        assert len(worker.started) == 8


async def test_max_containers_bounds(world: World) -> None:
    """However long the backlog, max_containers holds."""
    f = await world.function(scaling=Scaling(max_containers=3))
    async with fake_worker(world.bus) as worker:
        await world.send(f, 50)
        await until(lambda: len(worker.containers) == 3)
        await until_looked_again(world)
        assert len(worker.started) == 3


async def test_quick_packs_share_a_container(world: World) -> None:
    """When packs are known to be quick, one container is enough for many."""
    f = await world.function()
    async with fake_worker(world.bus, pack_seconds={f.function_id: 0.0005}) as worker:
        await world.send(f, 100)
        await until(lambda: worker.started)
        await world.purge()  # done in a moment, as was to be expected
        await until_looked_again(world)
        assert len(worker.started) == 1


async def test_quick_function_that_turns_slow_gets_more(registry: World, server: NatsServer) -> None:
    """When nothing ends any more, containers come beside the first long before the next look, whatever the mean was."""
    f = await registry.function()
    async with (
        scheduler(server.url, look_s=1000.0, sweep_s=1000.0),
        fake_worker(registry.bus, cpus=8.0, pack_seconds={f.function_id: 0.0005}) as worker,
    ):
        await registry.send(f)
        await until(lambda: worker.containers)
        await registry.send(f, 3)
        await registry.wake(f, 4)
        await until(lambda: len(worker.containers) == 4)


async def test_minimum_is_there_without_inputs(world: World) -> None:
    """min_containers come up by themselves."""
    async with fake_worker(world.bus) as worker:
        await world.function(scaling=Scaling(min_containers=2))
        await until(lambda: len(worker.containers) == 2)


async def test_idle_container_is_stopped(world: World) -> None:
    """After the scaledown window an idle container is asked to stop, if it still is idle."""
    f = await world.function(scaling=Scaling(scaledown_window=60.0))
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers)
        await world.purge()
        await worker.idle_since(time.time() - 61)
        await until(lambda: worker.stopped)
        await until(lambda: not worker.containers)
        assert [(s.container_id, s.only_if_idle, s.reason) for s in worker.stopped] == [
            (worker.started[0].container_id, True, "idle")
        ]
        await until_looked_again(world)
        assert len(worker.started) == 1


async def test_idle_containers_make_room(world: World) -> None:
    """On a host full of idle containers, a function that has none gets its first, long before they lapse."""
    one, two = [await world.function(resources=Resources(cpu=1.0)) for _ in range(2)]
    async with fake_worker(world.bus, cpus=2.0) as worker:
        await world.send(one, 2)
        await until(lambda: len(worker.containers) == 2)
        await world.purge()
        await worker.idle_since(time.time() - 5)
        await world.send(two)
        await until(lambda: worker.started[-1].function == two)
        await until(lambda: worker.stopped)
        assert (worker.stopped[0].container_id, worker.stopped[0].only_if_idle) == (
            min(s.container_id for s in worker.started[:2]),
            True,
        )
        assert "made room" in worker.stopped[0].reason


async def test_busy_containers_do_not_keep_a_function_from_its_first(world: World) -> None:
    """Cores are promised more than once before a function has nobody at all."""
    one, two = [await world.function(resources=Resources(cpu=2.0)) for _ in range(2)]
    async with fake_worker(world.bus, cpus=2.0) as worker:
        await world.send(one, 5)
        await until(lambda: worker.containers)
        await world.send(two, 5)
        await until(lambda: worker.started[-1].function == two)
        await until_looked_again(world)
        assert [s.function for s in worker.started] == [one, two]
        assert not worker.stopped


async def test_what_waits_for_its_own_calls_is_no_obstacle(world: World) -> None:
    """A function whose containers all wait gets another one for each pack that is left, beyond the cores."""
    f = await world.function(resources=Resources(cpu=1.0))
    async with fake_worker(world.bus, cpus=2.0) as worker:
        await world.send(f, 6)
        for number in (2, 4, 6):
            await until(lambda wanted=number: len(worker.containers) == wanted)  # type: ignore[misc]
            await worker.report(containers=tuple(replace(c, waits=True) for c in worker.containers))
        await until_looked_again(world)
        assert len(worker.started) == 6


async def test_memory_is_waited_for(world: World) -> None:
    """Where memory is what is short, the new container comes when the old one is gone, and a busy one may finish."""
    one, two = [await world.function(resources=Resources(memory_mib=3000)) for _ in range(2)]
    async with fake_worker(world.bus) as worker:
        await world.send(one)
        await until(lambda: worker.containers)
        await worker.report(containers=tuple(replace(c, started_at=1.0) for c in worker.containers))
        await world.send(two)
        await until(lambda: any(s.when_idle for s in worker.stopped))
        assert len(worker.started) == 1
        container_id = worker.containers[0].container_id
        await worker.report(containers=())
        await worker.tell("container.stopped", one, container_id)
        await until(lambda: len(worker.started) == 2)
        assert worker.started[1].function == two


async def test_refusal_tries_another_worker(world: World) -> None:
    """A worker that refuses is normal: another one is asked."""
    f = await world.function()
    async with fake_worker(world.bus) as one, fake_worker(world.bus) as two:
        one.refusal, two.refusal = "no", "no"
        await world.send(f)
        await until(lambda: one.started and two.started)
        two.refusal = ""
        await until(lambda: two.containers)


async def test_worker_that_does_not_answer_is_replaced(world: World) -> None:
    """A worker that is listed but gone costs a while, not the call."""
    f = await world.function()
    ghost = FakeWorker(world.bus, cpus=64.0)
    await ghost.report()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers)


async def test_start_that_never_shows_is_made_again(registry: World, server: NatsServer) -> None:
    """A container that its worker took but never showed is started again after the timeout."""
    async with scheduler(server.url, start_timeout_s=0.5), fake_worker(registry.bus) as worker:
        worker.comes_up = False
        await registry.send(await registry.function())
        await until(lambda: worker.started)
        worker.comes_up = True
        await until(lambda: worker.containers)
    assert worker.started[0].container_id != worker.started[1].container_id


async def test_failing_containers_back_off(world: World) -> None:
    """A function whose containers fail at the start is tried again, later and later."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        worker.comes_up = False  # its record never shows the containers as ready
        await world.send(f)
        for failures in (1, 2):
            await until(lambda wanted=failures: len(worker.started) == wanted)  # type: ignore[misc]
            await worker.tell("container.failed", f, worker.started[-1].container_id)
        await until(lambda: len(worker.started) == 3)
    first, second, third = worker.started_at
    assert second - first >= 0.5
    assert third - second >= 1.0


async def test_crash_of_a_ready_container_is_replaced_at_once(world: World) -> None:
    """A container that was ready and died is replaced without a wait, again and again (waits would add up to minutes)."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        for crashes in range(1, 41):
            await until(lambda wanted=crashes: len(worker.started) == wanted)  # type: ignore[misc]
            container_id = worker.started[-1].container_id
            await worker.tell("container.ready", f, container_id)
            await worker.tell("container.failed", f, container_id)
            await worker.report(containers=())
        await until(lambda: len(worker.started) == 41)


async def test_dead_worker_is_replaced(world: World) -> None:
    """When a worker dies, its functions with inputs get containers elsewhere."""
    f = await world.function()
    async with fake_worker(world.bus) as one:
        await world.send(f)
        await until(lambda: one.containers)
    async with fake_worker(world.bus) as two:
        await one.die()
        await until(lambda: two.containers)


async def test_stopped_app_loses_its_containers(world: World) -> None:
    """When an app stops, the containers of its functions are stopped, busy or not."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers)
        await world.stop_app(f)
        await until(lambda: not worker.containers)
        assert worker.stopped[0].function_id == f.function_id
        assert not worker.stopped[0].only_if_idle


async def test_stray_container_is_stopped(world: World) -> None:
    """A container whose function nobody knows is found and stopped."""
    f = await world.function()
    async with fake_worker(world.bus) as worker:
        await world.stop_app(f)
        await worker.start(api.StartContainer(container_id="ta-stray", function=f))
        await until(lambda: not worker.containers)
        assert worker.stopped[0].container_id == "ta-stray"


async def test_app_that_ends_while_nobody_leads_leaves_nothing(registry: World, server: NatsServer) -> None:
    """Who takes the lead stops the containers of functions that were removed meanwhile, long before the next sweep."""
    f = await registry.function()
    async with fake_worker(registry.bus) as worker:
        await worker.start(api.StartContainer(container_id="ta-stray", function=f))
        await registry.stop_app(f)
        async with scheduler(server.url, sweep_s=1000.0):
            await until(lambda: not worker.containers)
    assert [(s.container_id, s.only_if_idle) for s in worker.stopped] == [("ta-stray", False)]


async def test_waiting_function_gets_the_first_worker(world: World) -> None:
    """A function that waits for lack of workers starts as soon as one comes."""
    f = await world.function()
    await world.send(f)
    while not (await world.bus.call(api.FLEET_STATS, api.StatsRequest())).waiting:  # noqa: ASYNC110 - asked
        await anyio.sleep(0.02)
    async with fake_worker(world.bus) as worker:
        await until(lambda: worker.containers)
        stats = await world.bus.call(api.FLEET_STATS, api.StatsRequest(ws="main"))
        assert stats.waiting == {}
        assert len(stats.workers) == 1


async def test_expired_consumers_are_made_again(world: World) -> None:
    """A function that was not called for long has lost its consumers; the wake brings them back."""
    f = await world.function()
    jet = JetStream(world.bus)
    for lane in subjects.LANES:
        await jet.delete_consumer("IN_0", subjects.input_consumer("main", f.function_id, lane))
    async with fake_worker(world.bus) as worker:
        await until_looked_again(world)
        await world.send(f)
        await until(lambda: worker.started)
        with anyio.fail_after(10):
            while len([state async for state in jet.consumers("IN_0")]) < 2:  # noqa: ASYNC110 - asked
                await anyio.sleep(0.01)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """All functions are published without consumers."""
    monkeypatch.setattr(apps, "MOST_AWAKE", 0)


@pytest.mark.usefixtures("asleep")
async def test_first_wake_makes_the_consumers(world: World) -> None:
    """Before the first container is asked for, which would look for them in vain."""
    f = await world.function()
    assert await JetStream(world.bus).consumer("IN_0", _lane(f, "hi")) is None
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.started)
        for lane in subjects.LANES:
            assert await JetStream(world.bus).consumer("IN_0", _lane(f, lane)) is not None


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize("how", ["sweep", "asked"])
async def test_lost_first_wake_is_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By the next search, or when somebody asks for the call."""
    monkeypatch.setattr(director, "SEARCH_S", 0.0 if how == "sweep" else 1000.0)
    f = await world.function()
    await until_looked_again(world)
    async with fake_worker(world.bus) as worker:
        await world.send(f, wake=False)
        if how == "asked":
            (subject,) = (await JetStream(world.bus).subjects("IN_0", "in.>")).subjects
            call_id = subjects.parse_input(subject).call_id
            await until_looked_again(world)
            await world.bus.call(api.CALL_GET, api.CallRef(ws="main", call_id=call_id))
        await until(lambda: worker.started)


@pytest.mark.usefixtures("asleep")
async def test_a_new_leader_finds_inputs_without_consumers(registry: World, server: NatsServer) -> None:
    """And makes none for functions that have no inputs."""
    f, g = await registry.function(), await registry.function()
    await registry.send(f, wake=False)
    async with scheduler(server.url), fake_worker(registry.bus) as worker:
        await until(lambda: worker.started)
        assert await JetStream(registry.bus).consumer("IN_0", _lane(f, "hi")) is not None
        assert await JetStream(registry.bus).consumer("IN_0", _lane(g, "hi")) is None


def _lane(function: FunctionRecord, lane: Lane) -> str:
    return subjects.input_consumer("main", function.function_id, lane)


async def leader(world: World) -> str:
    """Ask who leads; waits while nobody does."""
    return (await world.bus.call(api.FLEET_STATS, api.StatsRequest(), timeout=20)).leader


async def test_standby_takes_over(registry: World, server: NatsServer) -> None:
    """Of two schedulers one acts; when it leaves, the other does, with all that it knows."""
    leave = anyio.Event()

    async def lead_until_told(*, task_status: TaskStatus[None]) -> None:
        async with scheduler(server.url):
            task_status.started()
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        await tasks.start(lead_until_told)
        before = await leader(registry)
        async with scheduler(server.url), fake_worker(registry.bus) as worker:
            await registry.send(await registry.function())
            await until(lambda: worker.containers)
            assert len(worker.started) == 1
            leave.set()
            while await leader(registry) == before:  # noqa: ASYNC110 - asked of the server
                await anyio.sleep(0.02)
            await registry.send(await registry.function())
            await until(lambda: len(worker.containers) == 2)


async def test_scheduler_survives_a_server_restart(world: World, server: NatsServer) -> None:
    """After the server was killed and is back, inputs get containers again."""
    f = await world.function()
    await anyio.to_thread.run_sync(server.restart)
    async with fake_worker(world.bus) as worker:
        await world.send(f)
        await until(lambda: worker.containers, timeout=30)
