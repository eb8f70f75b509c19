"""Waiting for conditions in tests."""

from collections.abc import Awaitable, Callable

import anyio


async def until(condition: Callable[[], object], *, timeout: float = 15.0) -> None:
    """Return when `condition()` is true; raises TimeoutError after `timeout` seconds."""
    with anyio.fail_after(timeout):
        while not condition():  # noqa: ASYNC110 - any condition, most of which have no event
            await anyio.sleep(0.005)


async def until_true(condition: Callable[[], Awaitable[object]], *, timeout: float = 15.0) -> None:
    """Return when `await condition()` is true; raises TimeoutError after `timeout` seconds."""
    with anyio.fail_after(timeout):
        while not await condition():  # noqa: ASYNC110 - as above
            await anyio.sleep(0.02)
