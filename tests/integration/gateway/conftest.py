"""The real gateway and registry on a real nats-server, with stand-ins for scheduler and worker."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest

from afield._bus.connection import Bus, BusAddress
from afield._bus.msg import Msg
from afield._wire import subjects
from afield._wire.api import (
    APP_CREATE,
    APP_PUBLISH,
    CALL_CANCEL,
    FLEET_STATS,
    CallRef,
    CreateApp,
    Done,
    Endpoint,
    FleetStats,
    PublishFunctions,
    StatsRequest,
)
from afield._wire.codec import decode, encode
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec
from afield._wire.messages import BlobRef, ErrorInfo, InputPack, InputResult, ResultPack
from afield._wire.subjects import Pack
from afield.serialization import dumps, loads_call
from afield_common.micro import Handler, serve
from afield_gateway.service import GatewayService
from afield_gateway.settings import GatewaySettings
from afield_registry.service import RegistryService
from afield_registry.settings import RegistrySettings
from support.nats import NatsServer

TOKEN = "t0ken"


class Stack:
    """The platform of one test. `functions` are what the stand-in worker runs, by name."""

    def __init__(self, url: str, bus: Bus) -> None:
        self.url = url
        self.bus = bus
        self.gateway: GatewayService
        self.functions: dict[str, Callable[..., Any]] = {}
        self.cancelled: list[str] = []
        self.inputs: list[InputPack] = []
        self._names: dict[str, str] = {}

    async def publish(self, app: str, **functions: Callable[..., Any]) -> tuple[FunctionRecord, ...]:
        """Start an app with these functions."""
        self.functions |= functions
        created = await self.bus.call(APP_CREATE, CreateApp(ws="main", name=app, description="", session="s"))
        specs = tuple(FunctionSpec(name=name, code=CodeRef(module="m", qualname=name)) for name in functions)
        published = await self.bus.call(
            APP_PUBLISH, PublishFunctions(ws="main", app_id=created.app_id, functions=specs)
        )
        self._names |= {record.function_id: record.spec.name for record in published.functions}
        return published.functions

    async def work(self, msg: Msg) -> None:
        """Run an input as a worker would; a function that returns None is still at it."""
        pack = decode(InputPack, msg.data)
        self.inputs.append(pack)
        payload = pack.args[0]
        assert not isinstance(payload, BlobRef)
        args, kwargs = loads_call(payload)
        value = self.functions[self._names[pack.function_id]](*args, **kwargs)
        if value is None:
            return
        if isinstance(value, ErrorInfo):
            result = InputResult(index=0, status="error", error=value)
        else:
            result = InputResult(index=0, status="ok", value=dumps(value).join())
        stored = ResultPack(
            call_id=pack.call_id, first=0, results=(result,), container_id="ta", worker_id="wk"
        )
        await self.bus.publish(subjects.result("main", pack.call_id, Pack(0, 1)), encode(stored))

    async def cancel(self, request: CallRef) -> Done:
        """Note that a call was cancelled."""
        self.cancelled.append(request.call_id)
        return Done()


async def fleet_stats(_: StatsRequest) -> FleetStats:
    return FleetStats(leader="test", workers=(), backlog={"fu-x": 3})


@pytest.fixture
async def stack(own_server: NatsServer) -> AsyncIterator[Stack]:
    """The platform."""
    address = BusAddress(own_server.url)
    async with AsyncExitStack() as opened:

        async def bus(name: str) -> Bus:
            return await opened.enter_async_context(Bus.open(address, name=name))

        settings = RegistrySettings(server=own_server.url)
        await opened.enter_async_context(RegistryService(await bus("registry"), settings))
        stack = Stack("", await bus("test"))
        tasks = await opened.enter_async_context(anyio.create_task_group())
        endpoints: dict[Endpoint[Any, Any], Handler] = {FLEET_STATS: fleet_stats, CALL_CANCEL: stack.cancel}
        await opened.enter_async_context(serve(stack.bus, tasks, "scheduler", "1", endpoints))
        await stack.bus.subscribe("in.>", stack.work)
        stack.gateway = GatewayService(
            await bus("gateway"), GatewaySettings(server=own_server.url, gateway_token=TOKEN, drain_s=2)
        )
        await opened.enter_async_context(stack.gateway)
        stack.url = stack.gateway.address
        yield stack


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway that holds the token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=10) as client:
        yield client
