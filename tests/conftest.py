"""Fixtures for all tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Timings are never asserted: how long an example takes says something of the machine's other work, not of the code.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The suite tries the same examples each time, so that it never fails for a change that is not to blame. `make explore`
# looks for others, and keeps what it finds in .hypothesis, where the suite does not look: add it as an example.
settings.register_profile("suite", _COMMON, derandomize=True)
settings.register_profile("explore", _COMMON, max_examples=2_000, print_blob=True)
_EXPLORES = "AFIELD_EXPLORE" in os.environ
settings.load_profile("explore" if _EXPLORES else "suite")

# A shell lets what it starts in the background ignore these, and so would what tests start: they send signals themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of many examples time: to Hypothesis, a timeout is a failing example, for which it looks for a simpler one."""
    for item in items:
        if not _EXPLORES and item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio: nats-py knows no other loop."""
    return "asyncio"
