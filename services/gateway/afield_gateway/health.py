"""Whether calls can be made now: the bus, the registry and the scheduler are each asked."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure, BusError
from afield._wire.api import APP_GET, FLEET_STATS, AppRef, StatsRequest
from afield_gateway.schemas import Check, Health

Probe = Callable[[], Awaitable[object]]

TIMEOUT: Final = 2.0
"""Seconds that each of them has to answer."""

_NOBODY: Final = "ap-" + "a" * 16
"""An app id that no app has: the registry's `not_found` is the cheapest answer that it can give."""


def probes(bus: Bus, ws: str) -> dict[str, Probe]:
    """Return what must answer for a call to work, by name."""

    async def registry() -> None:
        try:
            await bus.call(APP_GET, AppRef(ws=ws, app_id=_NOBODY), timeout=TIMEOUT)
        except ApiFailure as failure:
            if failure.code != "not_found":
                raise

    return {
        "bus": bus.flush,
        "registry": registry,
        "scheduler": lambda: bus.call(FLEET_STATS, StatsRequest(ws=ws), timeout=TIMEOUT),
    }


async def check(asked: Mapping[str, Probe]) -> Health:
    """Ask all at once; each has TIMEOUT seconds."""
    found: dict[str, Check] = {}

    async def ask(name: str, probe: Probe) -> None:
        found[name] = await _ask(probe)

    async with anyio.create_task_group() as tasks:
        for name, probe in asked.items():
            tasks.start_soon(ask, name, probe)
    ok = all(each.ok for each in found.values())
    return Health(status="ok" if ok else "unavailable", checks={name: found[name] for name in asked})


async def _ask(probe: Probe) -> Check:
    began = perf_counter()
    detail = ""
    try:
        with anyio.fail_after(TIMEOUT):
            await probe()
    except TimeoutError:
        detail = f"no answer within {TIMEOUT:g} s"
    except BusError as error:
        detail = str(error)
    return Check(ok=not detail, seconds=round(perf_counter() - began, 6), detail=detail)
