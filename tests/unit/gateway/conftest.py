"""The gateway's application over a backend that tests command."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from afield._wire.api import FleetStats
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec, MethodSpec
from afield._wire.messages import ErrorInfo
from afield.serialization import dumps
from afield_gateway.app import Parts, make_app
from afield_gateway.calls import CallEndpoint, Outcome
from afield_gateway.health import Probe
from afield_gateway.problems import Problem

TOKEN = "s3cret"
CALL_ID = "fc-abcdefghij-0-1"
Answer = Callable[..., Awaitable[Any]]


class FakeBackend:
    """Runs `answer(*args, **kwargs)`; what it returns or the ErrorInfo that it raises as a value is the result."""

    def __init__(self) -> None:
        self.answer: Answer = _echo
        self.is_generator = False
        self.methods: dict[str, MethodSpec] = {}
        self.cancelled = False

    async def resolve(self, app: str, function: str) -> FunctionRecord:
        if app != "shop":
            raise Problem(404, "unknown-app", "No such app", f"no app {app!r}", suggestions=["shop"])
        spec = FunctionSpec(
            name=function,
            code=CodeRef(module="m", qualname=function),
            is_generator=self.is_generator,
            methods=self.methods,
        )
        return FunctionRecord(function_id="fu-a", app_id="ap-a", app_name=app, ws="main", shard=0, spec=spec)

    async def call(self, _record: FunctionRecord, args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        try:
            value = await self.answer(*args, **kwargs)
        except BaseException:
            self.cancelled = True
            raise
        if isinstance(value, ErrorInfo):
            return Outcome(CALL_ID, None, value)
        return Outcome(CALL_ID, dumps(value).join(), None)


async def _echo(*args: Any, **kwargs: Any) -> Any:
    return {"args": args, "kwargs": kwargs}


async def _alive() -> None:
    return None


@pytest.fixture
def backend() -> FakeBackend:
    """The platform behind the gateway."""
    return FakeBackend()


@pytest.fixture
def probes() -> dict[str, Probe]:
    """What the health check asks; a test may replace one."""
    return {"bus": _alive, "registry": _alive, "scheduler": _alive}


@pytest.fixture
def fleet() -> list[FleetStats | None]:
    """What the scheduler says of the fleet."""
    return [FleetStats(leader="a", workers=())]


@pytest.fixture
def make(backend: FakeBackend, probes: dict[str, Probe], fleet: list[FleetStats | None]) -> Callable[[], Any]:
    """Make the application."""

    async def ask_fleet() -> FleetStats | None:
        return fleet[0]

    calls = CallEndpoint(backend, max_body=4096, timeout=5.0)
    return lambda: make_app(Parts("http://127.0.0.1:1", TOKEN, calls, probes, ask_fleet))


@pytest.fixture
async def http(make: Callable[[], Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that holds the token."""
    transport = httpx.ASGITransport(make())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client
