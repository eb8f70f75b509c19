"""Follows the records of workers, and removes those that outlived their workers."""

from collections.abc import Callable

import anyio
import anyio.abc

from afield._bus.connection import Bus
from afield._bus.errors import BusError, ConflictError
from afield._bus.feed import Feed
from afield._bus.kv import Bucket, Entry
from afield._wire.codec import WireError, decode
from afield._wire.functions import WorkerRecord
from afield._wire.streams import WORKER_TTL, WORKERS
from afield_common.clock import Clock
from afield_common.log import get_logger
from afield_scheduler.pulse import Pulse
from afield_scheduler.states import TransitionError

log = get_logger(__name__)


class Roster:
    """Reports workers that are there, and those that are no more. All schedulers follow; the leader removes."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        on_worker: Callable[[WorkerRecord], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._bucket = Bucket(bus, WORKERS.name.removeprefix("KV_"))
        self._clock = clock
        self._on_worker = on_worker
        self._on_gone = on_gone
        self._pulse = Pulse()

    async def follow(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Report all workers, and then every change, until cancelled."""
        async with Feed(self._bucket, ">", self._on_put, self._on_delete):
            task_status.started()
            await anyio.sleep_forever()

    def _on_put(self, entry: Entry) -> None:
        age = 0.0 if entry.stored_at is None else self._clock.time() - entry.stored_at
        alive = self._pulse.heard(entry.key, entry.revision, age=age, now=self._clock.monotonic())
        if not alive:
            log.warning("the record of a worker is too old to be true", worker_id=entry.key, seconds=age)
            return
        try:
            self._on_worker(decode(WorkerRecord, entry.data))
        except (WireError, TransitionError) as error:
            log.error("cannot take a worker's record", key=entry.key, error=str(error))

    def _on_delete(self, worker_id: str) -> None:
        self._pulse.gone(worker_id)
        self._on_gone(worker_id)

    async def bury(self, leading: Callable[[], bool], pause: float) -> None:
        """While we lead, remove the records that should have lapsed: look every `pause` seconds, until cancelled."""
        while True:
            await anyio.sleep(pause)
            for worker_id, revision in self._pulse.silent(self._clock.monotonic()) if leading() else ():
                try:
                    await self._remove(worker_id, revision)
                except BusError as error:
                    log.info("could not remove a worker's record", worker_id=worker_id, error=str(error))

    async def _remove(self, worker_id: str, revision: int) -> None:
        """Remove a worker's record unless there is a newer one, which the feed is about to bring."""
        try:
            await self._bucket.delete(worker_id, revision, ttl=WORKER_TTL)
        except ConflictError:
            return
        log.warning("removed a record that outlived its worker", worker_id=worker_id)
