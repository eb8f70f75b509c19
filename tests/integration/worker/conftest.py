"""One server, one worker and one field for the tests of a module; those that stop any of them make their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from afield_worker.service import WorkerService
from support.field import Field, field_on
from support.nats import NatsServer


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop a module, so that its tests can share a worker."""
    return "asyncio"


@pytest.fixture(scope="module")
async def field(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Field]:
    """A platform without registry and scheduler, on a server of its own: its streams have fixed names."""
    folder = tmp_path_factory.mktemp("field")
    with NatsServer(folder / "nats") as server:
        async with field_on(server.url, folder) as opened:
            yield opened


@pytest.fixture(scope="module")
async def worker(field: Field) -> AsyncIterator[WorkerService]:
    """A worker that takes as many containers as it is asked for."""
    async with field.worker(cpus=1000, memory_mib=10**6) as service:
        yield service


@pytest.fixture
def server(tmp_path: Path) -> NatsServer:
    """A server that the test starts and stops itself."""
    return NatsServer(tmp_path / "nats")
