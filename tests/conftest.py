"""Fixtures for all tests."""

import pytest
from hypothesis import HealthCheck, settings

# Timings are never asserted: how long an example takes says something of the machine's other work, not of the code.
settings.register_profile("afield", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("afield")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio: nats-py knows no other loop."""
    return "asyncio"
