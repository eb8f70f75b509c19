"""The worker as a service: assembles the parts, answers the scheduler, keeps its record alive."""

import os
import shutil
import time
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from afield._bus.blobs import BlobStore
from afield._bus.connection import Bus
from afield._bus.errors import BusTimeoutError
from afield._bus.files import FileTier
from afield._bus.kv import Bucket
from afield._bus.msg import Msg
from afield._wire import subjects
from afield._wire.api import (
    Done,
    Endpoint,
    StartContainer,
    StartReply,
    StopContainer,
    worker_start,
    worker_stop,
)
from afield._wire.codec import WireError, decode
from afield._wire.functions import ContainerRecord, WorkerRecord
from afield._wire.ids import new_id
from afield._wire.messages import CallControl, Children, Waits
from afield._wire.streams import DAY, RESULT_TTL, WORKER_TTL, WORKERS
from afield_common.micro import Handler
from afield_common.service import Service
from afield_common.store import wait_for_assets
from afield_worker import estate, homes, inventory
from afield_worker.beats import Beats
from afield_worker.blobs import Blobs
from afield_worker.code import CodeCache
from afield_worker.container import Container
from afield_worker.containers import Containers, Place
from afield_worker.discipline import EXIT_GRACE_S, KILL_GRACE_S
from afield_worker.engine import Engine
from afield_worker.estate import Estate, Left
from afield_worker.homes import Homes
from afield_worker.logs import Logs
from afield_worker.pool import Pool
from afield_worker.runners.base import Runner
from afield_worker.runners.process import ProcessRunner
from afield_worker.settings import WorkerSettings

KILL_ROOM_S: Final = 5.0
"""Seconds in which a stopping worker kills containers that did not end in time, and hands back their inputs."""

SWEEP_S: Final = 3600.0
FILES_KEPT_S: Final = max(RESULT_TTL.values()) + DAY


class WorkerService(Service[WorkerSettings]):
    """One worker: all containers that it starts are on this host."""

    role: ClassVar[str] = "worker"

    def __init__(self, bus: Bus, settings: WorkerSettings, *, runner: ProcessRunner | None = None) -> None:
        super().__init__(bus, settings)
        self.worker_id: Final = settings.worker_id or new_id("wk")
        self._runner = runner or ProcessRunner()
        self._runner_over = anyio.Event()
        self._started_at = time.time()
        self._pool = Pool()
        self._gpus = inventory.host_gpus(settings.gpus)
        self._capacity = inventory.measure(
            settings.cpus,
            settings.memory_mib,
            (self._runner.name,),
            settings.max_containers,
            self._gpus.kinds,
        )
        self._beats: Beats | None = None
        self._homes: Homes | None = None
        self._logs: Logs | None = None
        self._engine: Engine | None = None
        self._guest_dir: Path | None = None
        self._estate: Estate | None = None
        self._left: list[Left] = []
        """What was found of workers that were killed."""

    async def start(self) -> None:
        """Prepare the folders, start the template, sign on."""
        await wait_for_assets(self.bus, self.settings.shards)
        await self.tasks.start(self._keep_runner)
        self.log.info("limits of containers are enforced", **self._runner.mechanisms)
        files = FileTier(self.settings.blob_dir, self.settings.host)
        guest_dir = await anyio.to_thread.run_sync(self._claim_folders)
        blobs = Blobs(files, BlobStore(self.bus, "TMP"), self.settings.host, guest_dir)
        code = CodeCache(self.settings.cache_dir / "code", BlobStore(self.bus, "CODE").get_to_file)
        self._logs = Logs(self.bus)
        self._beats = Beats(Bucket(self.bus, WORKERS.name.removeprefix("KV_")), self.worker_id, self.record)
        place = Place(self.worker_id, guest_dir, self.settings, self._gpus)
        assert self._homes is not None
        assert self._estate is not None
        containers = Containers(self.tasks, self._runner, code, self._homes, self._logs, place)
        self._engine = Engine(
            self.bus, self.tasks, containers, blobs, self._beats, self.worker_id, self._pool, self._estate
        )
        await self.bus.subscribe(subjects.ALL_CALL_CONTROL, self._on_control)
        await self.bus.subscribe(subjects.container_waits(self.worker_id), self._on_waits)
        await self.bus.subscribe(subjects.container_children(self.worker_id), self._on_children)
        endpoints: dict[Endpoint[Any, Any], Handler] = {
            worker_start(self.worker_id): self._start_container,
            worker_stop(self.worker_id): self._stop_containers,
        }
        await self.serve(endpoints, metadata={"worker_id": self.worker_id, "host": self.settings.host})
        await self._beats.beat()
        await self._hand_back()
        self.tasks.start_soon(self._beats.run)
        self.tasks.start_soon(self._sweep, files, code)

    async def refuse(self) -> None:
        """Take no more containers."""
        self._pool.refuse()
        await super().refuse()

    def running(self) -> list[str]:
        """Name what still runs."""
        names = super().running()
        if self._pool.containers:
            names.append(f"{len(self._pool.containers)} containers")
        if self._pool.held:
            names.append(f"{len(self._pool.held)} packs")
        return names

    @property
    def drain_limit_s(self) -> float:
        """What runs has `settings.drain_s`, exit hooks have their own time after that."""
        return self.settings.drain_s + KILL_GRACE_S + EXIT_GRACE_S + KILL_ROOM_S

    async def drain(self) -> None:
        """Let containers end what they run, then end them; hand back what they did not finish in time."""
        if self._engine is not None:
            await self._engine.drain(self.settings.drain_s)
        self._runner_over.set()
        await super().drain()

    async def cleanup(self) -> None:
        """Send back what is left, sign off, remove the folders."""
        if self._engine is not None:
            self._engine.abandon()
        if self._logs is not None:
            self._logs.close()
        if self._homes is not None:
            await anyio.to_thread.run_sync(self._homes.close)
        if self._estate is not None:
            self._estate.close()
        if self._guest_dir is not None:
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(str(self._guest_dir), ignore_errors=True))
        if self._beats is not None:
            await self._beats.end()
        try:
            await self.bus.flush(timeout=2.0)
        except BusTimeoutError as error:
            self.log.warning("left without a last word", error=str(error))

    @property
    def containers(self) -> tuple[Container, ...]:
        """The containers that are here now."""
        return tuple(self._pool.containers.values())

    def record(self) -> WorkerRecord:
        """Return what the scheduler is told."""
        ahead = time.time() - time.monotonic()
        return WorkerRecord(
            worker_id=self.worker_id,
            host=self.settings.host,
            pid=os.getpid(),
            started_at=self._started_at,
            cpus=self._capacity.cpus,
            memory_mib=self._capacity.memory_mib,
            runners=self._capacity.runners,
            labels={**_mechanisms(self._runner), **self.settings.labels},
            gpus=self._capacity.gpus,
            draining=self._pool.draining,
            containers=tuple(
                _record(c, ahead, self._gpus.kinds_of(c.id)) for c in self._pool.containers.values()
            ),
            pack_seconds={
                function_id: slots.mean
                for function_id, slots in self._pool.functions.items()
                if slots.mean is not None and slots.containers
            },
            max_containers=self._capacity.max_containers,
            inputs_running={
                function_id: running
                for function_id, slots in self._pool.functions.items()
                if (running := slots.running)
            },
            stalled=self._engine.stalled if self._engine is not None else "",
        )

    # -- requests --------------------------------------------------------------------------------------

    async def _start_container(self, request: StartContainer) -> StartReply:
        assert self._engine is not None
        if request.container_id in self._pool.containers:
            return StartReply(accepted=True)
        if self._pool.draining:
            return StartReply(accepted=False, reason="the worker is stopping")
        taken = [c.function.record.spec.resources for c in self._pool.containers.values()]
        reason = self._capacity.refusal(request.function.spec, taken, self._gpus.free_kinds)
        if not reason:
            self._engine.start_container(request.container_id, request.function)
        return StartReply(accepted=not reason, reason=reason)

    async def _stop_containers(self, request: StopContainer) -> Done:
        assert self._engine is not None
        if not (request.container_id or request.only_if_idle or request.when_idle):
            self._runner.retire(app_id=request.app_id, function_id=request.function_id)
        for container in self._asked_for(request):
            if request.when_idle:
                self._engine.retire_container(container.id)
            elif not request.only_if_idle:
                self._engine.stop_container(container.id, grace=EXIT_GRACE_S, abort=True, why=request.reason)
            elif not container.running and container.phase == "ready":
                self._engine.stop_container(container.id, grace=EXIT_GRACE_S, abort=False)
        return Done()

    def _asked_for(self, request: StopContainer) -> list[Container]:
        containers = list(self._pool.containers.values())
        if request.container_id:
            return [c for c in containers if c.id == request.container_id]
        if request.function_id:
            return [c for c in containers if c.function.record.function_id == request.function_id]
        return [c for c in containers if c.function.record.app_id == request.app_id]

    def _on_control(self, msg: Msg) -> None:
        assert self._engine is not None
        try:
            control = decode(CallControl, msg.data)
        except WireError as error:
            self.log.warning("cannot read a control message", subject=msg.subject, error=str(error))
        else:
            self._engine.on_control(control)

    def _on_waits(self, msg: Msg) -> None:
        assert self._engine is not None
        try:
            waits = decode(Waits, msg.data)
        except WireError as error:
            self.log.warning("cannot read what a container waits for", error=str(error))
        else:
            self._engine.on_waits(waits)

    def _on_children(self, msg: Msg) -> None:
        assert self._engine is not None
        try:
            children = decode(Children, msg.data)
        except WireError as error:
            self.log.warning("cannot read what a container called", error=str(error))
        else:
            self._engine.on_children(children)

    # -- background ------------------------------------------------------------------------------------

    def _claim_folders(self) -> Path:
        """Make our folders, and remove those of workers that were killed; returns the one for guests' values."""
        roots = (self.settings.run_dir / "homes", self.settings.blob_dir / ".guests")
        homes.sweep(roots[0], lambda folder: self._left.append(estate.read(folder)))
        homes.sweep(roots[1])
        self._homes = Homes(roots[0], self.worker_id)
        self._estate = Estate(self._homes.folder / estate.FILE)
        self._guest_dir = homes.claim(roots[1], self.worker_id)
        return self._guest_dir

    async def _hand_back(self) -> None:
        """Send back what workers of this host held that were killed, and sign them off: nobody need wait for a lapse."""
        for left in self._left:
            self._pool.inherit(left.deaths)
            for reply in left.replies:
                self.bus.send(reply, b"-NAK")
            self.log.info(
                "a worker of this host was killed", worker_id=left.worker_id, held=len(left.replies)
            )
            await Bucket(self.bus, WORKERS.name.removeprefix("KV_")).delete(left.worker_id, ttl=WORKER_TTL)

    async def _keep_runner(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with self._runner:
            task_status.started()
            await self._runner_over.wait()

    async def _sweep(self, files: FileTier, code: CodeCache) -> None:
        """Remove, now and then, what nobody came for. What cannot be removed is no reason to stop working."""
        while True:
            refs = [container.function.record.spec.code for container in self.containers]
            in_use = {digest for ref in refs for digest in (ref.bundle, ref.serialized) if digest}
            try:
                await anyio.to_thread.run_sync(files.sweep, FILES_KEPT_S)
                await anyio.to_thread.run_sync(code.sweep, in_use)
            except OSError as error:
                self.log.warning("what nobody uses was not removed", error=str(error), again_in_s=SWEEP_S)
            await anyio.sleep(SWEEP_S)


def _mechanisms(runner: Runner) -> dict[str, str]:
    """Return the labels that say what enforces limits here: `limits.memory`, `limits.cpu`."""
    return {f"limits.{name}": mechanism for name, mechanism in runner.mechanisms.items()}


def _record(container: Container, ahead: float, gpus: tuple[str, ...]) -> ContainerRecord:
    """Return what is told of a container; `ahead` is Unix time minus monotonic time."""
    record = container.function.record
    assert container.phase != "gone"
    return ContainerRecord(
        container_id=container.id,
        function_id=record.function_id,
        app_id=record.app_id,
        state="stopping" if container.retiring else container.phase,
        pid=container.pid,
        started_at=container.since + ahead,
        resources=record.spec.resources,
        busy=len(container.running),
        idle_since=container.idle_since + ahead if container.idle_since != inf else 0.0,
        waits=container.waiting,
        function=record.spec.name,
        gpus=gpus,
    )
