"""Fixtures: a server of its own for each test, as the subjects and streams of services have fixed names.

A conftest.py that imports them offers them to the tests beside it.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from afield._bus.connection import Bus
from support.nats import NatsServer
from support.services import connected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A fresh nats-server."""
    with NatsServer(tmp_path / "nats") as started:
        yield started


@pytest.fixture
async def bus(server: NatsServer, anyio_backend: str) -> AsyncIterator[Bus]:
    """A connection of the test's own."""
    async with connected(server.url) as opened:
        yield opened
