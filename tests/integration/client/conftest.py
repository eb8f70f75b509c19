"""Fixtures for the client: a caller with a stand-in worker on a real server, and a whole real platform."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from afield import embedded
from support.callers import Caller, caller_on
from support.nats import NatsServer


@pytest.fixture
async def caller(nats_server: NatsServer) -> AsyncIterator[Caller]:
    """Of a plain function."""
    async with caller_on(nats_server.url) as made:
        yield made


@pytest.fixture
async def local_caller(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Caller]:
    """Of a plain function, on the host whose blob folder the worker shares."""
    async with caller_on(nats_server.url, blob_dir=str(tmp_path)) as made:
        yield made


@pytest.fixture
async def generator(nats_server: NatsServer) -> AsyncIterator[Caller]:
    """Of a generator; what it yields is the test's business."""
    async with caller_on(nats_server.url, is_generator=True) as made:
        made.worker.answer = lambda _pack: None
        yield made


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Platform]:
    """A private platform of this process, for all tests of the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFIELD_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("AFIELD_SERVER", "AFIELD_TOKEN"):
            patch.delenv(name, raising=False)
        with embedded.acquire() as held:
            yield held
