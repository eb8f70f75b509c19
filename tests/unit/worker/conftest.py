"""Fixtures for tests of the worker's parts."""

import pytest

from support.pool import World


@pytest.fixture
def world() -> World:
    """A pool without containers."""
    return World()
