"""Fixtures for tests against real peers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nats import NatsServer


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One nats-server for all tests that do not stop it; each test uses names of its own."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that the test may kill."""
    with NatsServer(tmp_path / "nats") as server:
        yield server
