"""The worker's record in WORKERS: put soon after a change, and often enough to be taken for alive."""

import asyncio
from collections.abc import Callable
from typing import Final

import anyio

from afield._bus.errors import BusError
from afield._bus.kv import Bucket
from afield._wire.codec import encode
from afield._wire.functions import WorkerRecord
from afield._wire.streams import WORKER_TTL
from afield_common.log import get_logger

log = get_logger(__name__)

BEAT_S: Final = WORKER_TTL / 3

CHANGE_S: Final = 0.05
"""Seconds in which changes of containers are gathered."""

BUSY_S: Final = 1.0
"""Seconds between two records that are put only for what containers run; the first change after a pause is told soon."""


class Beats:
    """Puts the record that `record` returns under the worker's id."""

    def __init__(self, bucket: Bucket, worker_id: str, record: Callable[[], WorkerRecord]) -> None:
        self._bucket = bucket
        self._worker_id = worker_id
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0
        self._put_at = -BUSY_S

    def changed(self) -> None:
        """Containers came, went, or changed their phase."""
        self._soon(CHANGE_S)

    def busy(self) -> None:
        """A container began or ended a pack. Cheap: called for every pack."""
        if self._timer is None:
            self._soon(max(CHANGE_S, self._put_at + BUSY_S - self._loop.time()))

    def learnt(self) -> None:
        """The run time of a function is known for the first time: how many containers it gets depends on that."""
        self._soon(0.0)

    async def beat(self) -> None:
        """Put the record now. Raises BusError."""
        await self._bucket.put(self._worker_id, encode(self._record()), ttl=WORKER_TTL)

    async def run(self) -> None:
        """Put the record on every change and every BEAT_S."""
        well = True
        while True:
            with anyio.move_on_after(BEAT_S):
                await self._due.wait()
            self._due.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._put_at = self._loop.time()
            try:
                await self.beat()
            except BusError as error:
                say = log.warning if well else log.debug  # once an outage
                say("heartbeat not sent", error=str(error))
                well = False
            else:
                well = True

    async def end(self) -> None:
        """Tell at once that the worker is gone."""
        try:
            await self._bucket.delete(self._worker_id)
        except BusError as error:
            log.warning("could not sign off; the record lapses", error=str(error), seconds=WORKER_TTL)

    def _soon(self, seconds: float) -> None:
        # Kept here: what uvloop returns for a time that has come already cannot tell it.
        when = self._loop.time() + seconds
        if self._timer is not None:
            if self._when <= when:
                return
            self._timer.cancel()
        self._when = when
        self._timer = self._loop.call_at(when, self._due.set)
