"""Waiting for conditions in tests."""

from collections.abc import Callable

import anyio


async def until(condition: Callable[[], object], *, timeout: float = 15.0) -> None:
    """Return when `condition()` is true; raises TimeoutError after `timeout` seconds."""
    with anyio.fail_after(timeout):
        while not condition():
            await anyio.sleep(0.005)
