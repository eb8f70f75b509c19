"""Running services in a test: on a bus of their own, stopped in an orderly way at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from afield._bus.connection import Bus, BusAddress
from afield_common.service import Service

S = TypeVar("S", bound=Service[Any])


@asynccontextmanager
async def connected(url: str, name: str = "test") -> AsyncIterator[Bus]:
    """A bus to the server at `url`, without credentials."""
    async with Bus.open(BusAddress(url), name=name) as bus:
        yield bus


@asynccontextmanager
async def running(service: S) -> AsyncIterator[S]:
    """The service, ready; stopped like by SIGTERM at the end of the block."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(service.run)
        yield service
        service.request_stop("end of the test")
