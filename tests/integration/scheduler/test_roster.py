"""Records of workers that a server kept, or brought back, after their time: nobody believes them, and they go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from afield._bus.kv import Bucket
from afield._wire.codec import build, encode
from afield._wire.functions import WorkerRecord
from afield_common.clock import SystemClock
from afield_scheduler.pulse import SILENT_S
from afield_scheduler.service import SchedulerService
from afield_scheduler.settings import SchedulerSettings
from support.fake_worker import fake_worker
from support.fleet import container, worker
from support.nats import NatsServer
from support.services import connected, running
from support.waiting import until_true
from support.world import World

pytestmark = pytest.mark.anyio


class MovedClock(SystemClock):
    """A clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@asynccontextmanager
async def scheduler(url: str, clock: MovedClock) -> AsyncIterator[None]:
    """A scheduler with a clock of its own."""
    settings = SchedulerSettings(look_s=0.1, sweep_s=0.1)
    async with connected(url) as bus, running(SchedulerService(bus, settings, clock=clock)):
        yield


async def leave_record(world: World) -> None:
    """Put the record of a worker that died, with a container, as a server keeps it that forgot its time to live."""
    await Bucket(world.bus, "WORKERS").put("wk-dead", encode(worker("wk-dead", container())))


async def listed(world: World) -> set[str]:
    """The workers that the leader tells of."""
    return {build(WorkerRecord, values).worker_id for values in (await world.stats()).workers}


async def kept(world: World) -> set[str]:
    """The workers that the bucket tells of."""
    return {entry.key for entry in await Bucket(world.bus, "WORKERS").snapshot()}


async def test_record_from_before_is_not_believed(registry: World, server: NatsServer) -> None:
    """A scheduler that finds a record which should have lapsed lists only the workers that report."""
    await leave_record(registry)
    clock = MovedClock()
    clock.ahead = 60.0
    async with scheduler(server.url, clock):
        assert await listed(registry) == set()
        async with fake_worker(registry.bus) as alive:

            async def reported() -> bool:
                return await listed(registry) == {alive.worker_id}

            await until_true(reported)


async def test_record_that_outlived_its_worker_is_removed(registry: World, server: NatsServer) -> None:
    """A record that is neither renewed nor removed by the server is removed by the leader; one that is renewed stays."""
    clock = MovedClock()
    async with scheduler(server.url, clock), fake_worker(registry.bus) as alive:
        await leave_record(registry)

        async def both() -> bool:
            return await listed(registry) == {"wk-dead", alive.worker_id}

        async def only_alive() -> bool:
            await alive.report()
            return await listed(registry) == await kept(registry) == {alive.worker_id}

        await until_true(both)
        clock.ahead = SILENT_S - 1
        await alive.report()
        await until_true(both)
        clock.ahead = SILENT_S + 1
        await until_true(only_alive)
