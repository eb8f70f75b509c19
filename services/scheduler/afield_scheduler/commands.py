"""Decisions carried out: containers are started and stopped. The snapshot is told first, then the worker is asked."""

import time
from collections.abc import Callable
from typing import Final

from anyio.abc import TaskGroup

from afield._wire.api import StopContainer
from afield._wire.functions import FunctionRecord
from afield._wire.ids import new_id
from afield_scheduler.bounded import Bounded
from afield_scheduler.crews import Placed, Starting
from afield_scheduler.fleet import Fleet, stop_of
from afield_scheduler.snapshot import Snapshot

_CONTAINERS_KEPT: Final = 10_000


class Commands:
    """What workers are asked to do."""

    def __init__(
        self, fleet: Fleet, snapshot: Snapshot, tasks: TaskGroup, on_refused: Callable[[str], None]
    ) -> None:
        """Requests run in `tasks`. `on_refused` is called with the function of a container that no worker took."""
        self._fleet = fleet
        self._snapshot = snapshot
        self._tasks = tasks
        self._on_refused = on_refused
        self._versions: Bounded[str, int] = Bounded(_CONTAINERS_KEPT)
        """The version of the function that a container was asked for with."""

    def version_of(self, container_id: str) -> int | None:
        """Return the version of its function that a container was asked for with; None if that is not known (any more)."""
        return self._versions.get(container_id)

    def forget(self, container_id: str) -> None:
        """A container is gone."""
        self._versions.pop(container_id, None)

    def start(self, function: FunctionRecord, worker_id: str) -> None:
        """Start a container on a worker."""
        start = Starting(
            new_id("ta"), function.function_id, worker_id, function.spec.resources, time.monotonic()
        )
        self._snapshot.add_start(start)
        self._versions[start.container_id] = function.version
        self._tasks.start_soon(self._request_start, function, start)

    async def _request_start(self, function: FunctionRecord, start: Starting) -> None:
        refusal = await self._fleet.start(function, start)
        if refusal and start.container_id in self._snapshot.starting:
            self._snapshot.start_refused(start, refusal, time.monotonic())
            self._on_refused(function.function_id)

    def stop(self, placed: Placed, reason: str, *, only_if_idle: bool, when_idle: bool = False) -> None:
        """Stop a container."""
        self._snapshot.mark_stopping(placed.record.container_id, time.monotonic())
        request = stop_of(placed, reason, only_if_idle=only_if_idle, when_idle=when_idle)
        self._tasks.start_soon(self._fleet.stop, placed.worker_id, request)

    def stop_all(self, function_id: str, reason: str, *, only_if_idle: bool = False) -> None:
        """Stop the containers of a function wherever they are, or are about to be."""
        for worker_id in self._snapshot.workers_of(function_id):
            request = StopContainer(function_id=function_id, only_if_idle=only_if_idle, reason=reason)
            self._tasks.start_soon(self._fleet.stop, worker_id, request)
