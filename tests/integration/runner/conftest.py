"""Fixtures for tests with real containers: one runner a module, its containers killed after each test."""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from afield_worker.runners.process import ProcessRunner
from support.guests import Launcher, launching


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop a module, so that its tests can share a runner; the one that services use."""
    return "asyncio", {"use_uvloop": find_spec("uvloop") is not None}


@pytest.fixture(scope="module")
async def runner(anyio_backend: object) -> AsyncIterator[ProcessRunner]:
    """A running runner."""
    async with ProcessRunner() as runner:
        yield runner


@pytest.fixture
async def launch(runner: ProcessRunner, tmp_path: Path) -> AsyncIterator[Launcher]:
    """Starts containers: `guest = await launch(source)`."""
    async with launching(runner, tmp_path) as launcher:
        yield launcher
