"""Fixtures for all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Timings are never asserted: how long an example takes says something of the machine's other work, not of the code.
settings.register_profile("afield", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("afield")

# A shell lets what it starts in the background ignore these, and so would what tests start: they send signals themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio: nats-py knows no other loop."""
    return "asyncio"
