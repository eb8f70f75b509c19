"""Who of the schedulers leads: the holder of a lease. The others keep their snapshots warm."""

from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from afield._bus.connection import Bus
from afield._bus.kv import Bucket
from afield._bus.lease import Lease
from afield._wire.streams import LEASE, LEASE_TTL
from afield_common.log import get_logger
from afield_scheduler.holders import is_dead

log = get_logger(__name__)

KEY: Final = "scheduler"
RENEW_S: Final = 1.5


class Leadership:
    """One candidate."""

    def __init__(self, bus: Bus, holder: str, on_change: Callable[[bool], None]) -> None:
        """`on_change(leading)` is called inline at every change."""
        self.holder: Final = holder
        self._on_change = on_change
        bucket = Bucket(bus, LEASE.name.removeprefix("KV_"))
        self._lease = Lease(bucket, KEY, holder, LEASE_TTL, RENEW_S, is_dead=is_dead)

    @property
    def leading(self) -> bool:
        """Whether this one leads now."""
        return self._lease.held

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stand for the lease until cancelled, then give it back."""
        await self._lease.run(self._acquired, self._lost, task_status=task_status)

    def _acquired(self) -> None:
        log.info("leads", holder=self.holder, fence=self._lease.revision)
        self._on_change(True)

    def _lost(self) -> None:
        log.info("leads no more", holder=self.holder)
        self._on_change(False)
