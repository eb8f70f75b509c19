"""Registry and scheduler on a real server, and a client that publishes by hand: for tests of what they do together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest

from afield._bus.connection import Bus
from afield._bus.direct import get_all
from afield._bus.msg import Msg
from afield._wire import api, subjects
from afield._wire.codec import decode, encode
from afield._wire.functions import FunctionRecord
from afield._wire.messages import Event, InputPack, InputResult, ResultPack, Wake
from afield_common.jetstream import JetStream
from afield_registry.service import RegistryService
from afield_registry.settings import RegistrySettings
from afield_scheduler.service import SchedulerService
from afield_scheduler.settings import SchedulerSettings
from support.nats import NatsServer
from support.records import create, publish, spec
from support.services import connected, running

_calls = count(1)


class World:
    """A registry, a scheduler, and a client's connection."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def function(self, **changes: Any) -> FunctionRecord:
        """Start an app with one function."""
        made = await self.bus.call(api.APP_CREATE, create())
        published = await self.bus.call(api.APP_PUBLISH, publish(spec(**changes), app_id=made.app_id))
        return published.functions[0]

    async def send(self, f: FunctionRecord, packs: int = 1, *, size: int = 1, wake: bool = True) -> str:
        """Publish packs of `size` inputs of a new call; return its id."""
        call_id = f"fc-s1-0-{next(_calls)}"
        for n in range(packs):
            subject = f"in.0.main.{f.function_id}.lo.{call_id}.{n * size}-{size}.1"
            pack = InputPack(
                call_id=call_id,
                function_id=f.function_id,
                kind="map",
                first=n * size,
                args=(b"x",) * size,
                sent_at=1.0,
            )
            await self.bus.publisher.publish(subject, encode(pack), msg_id=f"{call_id}.{n}")
        if wake:
            await self.wake(f, packs)
        return call_id

    async def wake(self, f: FunctionRecord, packs: int = 1) -> None:
        """Tell the scheduler."""
        wake = Wake(ws="main", function_id=f.function_id, outstanding=packs)
        await self.bus.publish(subjects.wake(f.shard), encode(wake))

    async def results(self) -> list[InputResult]:
        """How all inputs ended that did."""
        stored = await get_all(self.bus, "RESULTS", "out.>")
        return [result for each in stored for result in decode(ResultPack, each.data).results]

    async def waiting(self) -> int:
        """How many packs are stored."""
        return len((await JetStream(self.bus).subjects("IN_0", "in.>")).subjects)

    async def events(self, *kinds: str) -> list[Event]:
        """A list that grows by the events of these kinds."""
        heard: list[Event] = []

        def note(msg: Msg) -> None:
            event = decode(Event, msg.data)
            if event.kind in kinds:
                heard.append(event)

        await self.bus.subscribe(subjects.event("*", "*", "*", "*"), note)
        await self.bus.flush()
        return heard

    async def stats(self) -> api.FleetStats:
        """What the leader tells; waits for one."""
        return await self.bus.call(api.FLEET_STATS, api.StatsRequest(ws="main"), timeout=20)

    async def purge(self) -> None:
        """Take all inputs away, as if they were done."""
        await JetStream(self.bus).purge("IN_0", ">")

    async def stop_app(self, f: FunctionRecord) -> None:
        await self.bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=f.app_id))


@asynccontextmanager
async def scheduler(url: str, **settings: Any) -> AsyncIterator[SchedulerService]:
    """A scheduler on a connection of its own."""
    chosen = SchedulerSettings(**{"look_s": 0.1, "sweep_s": 0.3, **settings})
    async with connected(url, "scheduler") as bus, running(SchedulerService(bus, chosen)) as service:
        yield service


@pytest.fixture
async def registry(server: NatsServer, anyio_backend: str) -> AsyncIterator[World]:
    """A world without a scheduler."""
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(connected(server.url, "registry"))
        await stack.enter_async_context(running(RegistryService(own, RegistrySettings())))
        yield World(await stack.enter_async_context(connected(server.url, "client")))


@pytest.fixture
async def world(registry: World, server: NatsServer) -> AsyncIterator[World]:
    """A world with a scheduler."""
    async with scheduler(server.url):
        yield registry


async def until_looked_again(world: World) -> None:
    """Return when the scheduler has had every reason to do more: it answers, and several looks have passed."""
    for _ in range(5):
        await world.bus.call(api.FLEET_STATS, api.StatsRequest())
        await anyio.sleep(0.1)
