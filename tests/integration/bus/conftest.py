"""Fixtures for tests of the bus."""

from collections.abc import AsyncIterator

import pytest

from afield._bus import Bus, BusAddress
from support.nats import NatsServer


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to the shared server."""
    async with Bus.open(BusAddress(nats_server.url), name="test") as bus:
        yield bus


@pytest.fixture
async def own_bus(own_server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to the test's own server."""
    async with Bus.open(BusAddress(own_server.url), name="test") as bus:
        yield bus
