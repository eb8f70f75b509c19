"""A worker as the scheduler sees it: it answers start and stop, reports its containers, and runs nothing."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio

from afield._bus.connection import Bus
from afield._bus.kv import Bucket
from afield._wire import api, subjects
from afield._wire.codec import encode
from afield._wire.functions import ContainerRecord, FunctionRecord, WorkerRecord
from afield._wire.ids import new_id
from afield._wire.messages import ErrorInfo, Event, EventKind
from afield_common.micro import Handler, serve
from support.fleet import container, worker


class FakeWorker:
    """Containers come up as soon as they are asked for."""

    def __init__(self, bus: Bus, **record: Any) -> None:
        self.bus = bus
        self.worker_id = new_id("wk")
        self.record: WorkerRecord = worker(self.worker_id, **record)
        self.started: list[api.StartContainer] = []
        self.started_at: list[float] = []
        self.stopped: list[api.StopContainer] = []
        self.told: set[str] = set()
        """Containers that something was told of."""
        self.refusal = ""
        self.comes_up = True
        self._workers = Bucket(bus, "WORKERS")

    @property
    def containers(self) -> tuple[ContainerRecord, ...]:
        return self.record.containers

    async def report(self, **changes: Any) -> None:
        """Publish the record, with changes."""
        self.record = replace(self.record, **changes)
        await self._workers.put(self.worker_id, encode(self.record), ttl=15)

    async def idle_since(self, since: float) -> None:
        """Report all containers as idle."""
        await self.report(containers=tuple(replace(c, busy=0, idle_since=since) for c in self.containers))

    async def tell(
        self,
        kind: EventKind,
        function: FunctionRecord,
        container_id: str,
        *,
        error: ErrorInfo | None = None,
    ) -> None:
        """Publish an event about a container."""
        self.told.add(container_id)
        event = Event(
            kind=kind,
            at=time.time(),
            app_id=function.app_id,
            function_id=function.function_id,
            container_id=container_id,
            error=error,
        )
        await self.bus.publish(subjects.event("main", function.app_id, function.function_id), encode(event))

    async def start(self, request: api.StartContainer) -> api.StartReply:
        self.started.append(request)
        self.started_at.append(time.monotonic())
        if self.refusal:
            return api.StartReply(accepted=False, reason=self.refusal)
        if self.comes_up:
            new = container(
                request.container_id,
                request.function.function_id,
                busy=1,
                resources=request.function.spec.resources,
            )
            await self.report(containers=(*self.containers, new))
        return api.StartReply(accepted=True)

    async def stop(self, request: api.StopContainer) -> api.Done:
        self.stopped.append(request)

        def meant(c: ContainerRecord) -> bool:
            if (request.only_if_idle or request.when_idle) and c.busy:
                return False
            if request.container_id:
                return c.container_id == request.container_id
            return c.function_id == request.function_id

        await self.report(containers=tuple(c for c in self.containers if not meant(c)))
        return api.Done()

    async def die(self) -> None:
        """Vanish from the bucket, as after a missed heartbeat."""
        await self._workers.delete(self.worker_id)


@asynccontextmanager
async def fake_worker(bus: Bus, **record: Any) -> AsyncIterator[FakeWorker]:
    """A worker that is there while the block runs."""
    async with anyio.create_task_group() as tasks:
        made = FakeWorker(bus, **record)
        endpoints: dict[api.Endpoint[Any, Any], Handler] = {
            api.worker_start(made.worker_id): made.start,
            api.worker_stop(made.worker_id): made.stop,
        }
        async with serve(bus, tasks, "worker", "0.0.0", endpoints):
            await made.report()
            yield made
        tasks.cancel_scope.cancel()
