"""The `process` runner: containers are forks of a template process, each the leader of its own session."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from afield._cgroups import Base
from afield._wire.guest import Exited, Fork, Forked, Start
from afield_common.log import get_logger
from afield_worker.runners import memory
from afield_worker.runners.base import ContainerHandlers, RunnerError, describe_end, split_status
from afield_worker.runners.container import ProcessContainer
from afield_worker.runners.enforcer import Enforcer
from afield_worker.runners.forkserver import ForkServerEndedError
from afield_worker.runners.snapshots import Snapshot, Snapshots
from afield_worker.runners.sweep import sweep
from afield_worker.runners.template import TemplateProcess

_TRIES: Final = 3
_SHORT_LIFE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 5.0

log = get_logger(__name__)


class ProcessSettings(NamedTuple):
    """How the runner works; the defaults are for use."""

    python: str = sys.executable
    """The interpreter of templates; afield must be importable in it."""
    start_timeout: float = 30.0
    """Seconds in which a container must be forked; the start of a template is part of it."""
    stop_timeout: float = 5.0
    """Seconds that containers and template get to die when the runner ends."""
    use_cgroups: bool = True
    """Whether limits are left to the kernel, where that may be asked."""


class ProcessRunner(anyio.AsyncContextManagerMixin):
    """Keeps one template process alive, and has it fork containers.

    The template starts with the `async with` block; when it dies its containers are reported, and another is started.
    At the end of the block all containers are killed and reported. Containers of a function that wants a snapshot are
    forked from the first of them (`snapshots.py`).
    """

    name = "process"

    def __init__(self, settings: ProcessSettings | None = None) -> None:
        self._settings = settings or ProcessSettings()
        self._tasks: TaskGroup
        self._template: TemplateProcess | None = None
        self._template_ready = anyio.Event()
        self._trouble = "has not been started"
        self._containers: dict[str, ProcessContainer] = {}
        """By fork id."""
        self._early_ends: dict[str, Exited] = {}
        self._snapshots = Snapshots()
        self._enforcer = Enforcer(use_cgroups=self._settings.use_cgroups)
        self._oom_kills = memory.oom_kills()
        self._stop = anyio.Event()
        self._over = anyio.Event()
        self._empty = anyio.Event()

    @property
    def template_pid(self) -> int:
        """The process id of the template, 0 while there is none."""
        return self._template.pid if self._template else 0

    @property
    def mechanisms(self) -> dict[str, str]:
        """What enforces the limits of containers; see `base.Runner`."""
        return self._enforcer.mechanisms

    @property
    def control_groups(self) -> dict[str, Base]:
        """The groups below which containers have theirs, by controller (`memory`, `cpu`); none where none can be made."""
        return self._enforcer.bases

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        await self._enforcer.open()
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._keep_template)
                self._enforcer.run(self._tasks)
                try:
                    yield self
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._end()
                    self._tasks.cancel_scope.cancel()
        finally:
            self._enforcer.close()

    async def start(self, spec: Start, env: dict[str, str], handlers: ContainerHandlers) -> ProcessContainer:
        """Start a container and send it `spec`; handlers are called from the moment that this returns.

        `env` goes over the environment of the function itself. Waits while a snapshot of the function is being made.
        Raises RunnerError.
        """
        fork = Fork(container_id=spec.container_id, env={**spec.function.spec.env, **env})
        problem: RunnerError = RunnerError("the runner is ending")
        for _ in range(_TRIES):
            await self._wait_for_snapshot(spec)
            with anyio.move_on_after(self._settings.start_timeout) as scope:
                try:
                    return await self._try_start(spec, fork, handlers)
                except ForkServerEndedError as error:
                    problem = error
            if scope.cancelled_caught:
                timeout = self._settings.start_timeout
                raise RunnerError(
                    f"no container was forked within {timeout:g} s; the template {self._trouble}"
                )
        raise problem

    def retire(self, *, app_id: str = "", function_id: str = "") -> None:
        """No more containers of this app, or of this function, will be asked for."""
        self._snapshots.retire(app_id, function_id)

    async def _try_start(self, spec: Start, fork: Fork, handlers: ContainerHandlers) -> ProcessContainer:
        while (template := self._template) is None:  # one may have come, and gone before this task's turn
            await self._template_ready.wait()
        snapshot = self._snapshots.find(spec.function)
        if snapshot is not None and snapshot.ready:
            container = ProcessContainer(spec, snapshot.template, handlers, snapshot, spec.container_id)
            self._snapshots.container_began(snapshot)
        elif self._snapshots.wanted(spec.function) and snapshot is None:
            return await self._try_start_snapshot(spec, fork, handlers, template)
        else:
            container = ProcessContainer(spec, template, handlers, template, spec.container_id)
        return await self._fork(container, fork, container.descriptors)

    async def _fork(
        self, container: ProcessContainer, fork: Fork, descriptors: tuple[int, ...]
    ) -> ProcessContainer:
        server, fork_id, pid = container.server, container.fork_id, 0
        self._containers[fork_id] = container
        try:
            pid = await server.fork(fork, descriptors)
            await self._enforcer.confine(container, pid)
            if server.end:
                raise server.ended_error()
            container.begin(pid)
        except BaseException:
            if pid:
                server.kill(fork_id, signal.SIGKILL, tree=True)
                self._enforcer.give_up(container)
            self._forget(container)
            self._early_ends.pop(fork_id, None)
            container.discard()
            raise
        container.send_start()
        self._enforcer.begun(container)
        self._oom_kills = memory.oom_kills()
        early = self._early_ends.pop(fork_id, None)
        if early is not None:
            asyncio.get_running_loop().call_soon(self._on_exited, early)
        return container

    # -- snapshots ----------------------------------------------------------------------------------------

    async def _wait_for_snapshot(self, spec: Start) -> None:
        """Wait until it is known what becomes of a snapshot in the making."""
        snapshot = self._snapshots.find(spec.function)
        if snapshot is not None:
            await snapshot.settled.wait()

    async def _try_start_snapshot(
        self, spec: Start, fork: Fork, handlers: ContainerHandlers, template: TemplateProcess
    ) -> ProcessContainer:
        """Start the container that is to become a snapshot."""
        snapshot = Snapshot(spec, template, self._on_exited, self._on_snapshot, self._on_snapshot_closed)
        self._snapshots.add(snapshot)
        command = Fork(container_id=snapshot.id, env=fork.env, snapshot_home=str(snapshot.home))
        try:
            await self._make_home(snapshot, spec.home)
            container = ProcessContainer(spec, template, handlers, template, snapshot.id)
            return await self._fork(container, command, (*container.descriptors, snapshot.descriptor))
        except BaseException:
            self._snapshots.ended(snapshot, "was given up before it had begun")
            self._tasks.start_soon(anyio.to_thread.run_sync, snapshot.remove_home)
            raise

    async def _make_home(self, snapshot: Snapshot, home: str) -> None:
        try:
            await anyio.to_thread.run_sync(snapshot.make_home, home)
        except BaseException:
            os.close(snapshot.descriptor)
            raise

    def _on_snapshot(self, snapshot: Snapshot, frame: Forked) -> None:
        """A container says what became of it: a template, or not."""
        container = self._containers.pop(snapshot.id, None)
        if container is None:
            return  # it has ended since
        if not frame.pid:
            self._containers[snapshot.id] = container
            self._snapshots.refuse(snapshot)
            log.info("no snapshot", function_id=snapshot.key[0], reason=frame.error)
            return
        pid = container.pid
        self._enforcer.forget(container)
        self._enforcer.keep(snapshot.id, container.move(snapshot, frame.pid))
        self._containers[container.fork_id] = container
        self._snapshots.made(snapshot, pid)
        self._snapshots.container_began(snapshot)
        self._tasks.start_soon(self._begin_again, container)

    async def _begin_again(self, container: ProcessContainer) -> None:
        """Let the first container of a snapshot go on."""
        await self._enforcer.confine(container, container.pid)
        if container.ended:
            self._enforcer.forget(container)
        else:
            self._enforcer.begun(container)
            container.send_start()

    def _on_snapshot_closed(self, snapshot: Snapshot) -> None:
        """It closed its end: it has gone, or user code did that, and it is of no use any more."""
        if snapshot.ready:
            snapshot.template.kill(snapshot.id, signal.SIGKILL, tree=True)
        self._snapshots.give_up(snapshot)

    def _snapshot_ended(self, snapshot: Snapshot, how: str) -> None:
        """Its process is gone, and its containers with it."""
        self._snapshots.ended(snapshot, how)
        self._enforcer.ended(snapshot.id)
        for container in [each for each in self._containers.values() if each.server is snapshot and each.pid]:
            self._forget(container)
            container.lost(f"was lost with its snapshot, which {how}")
        self._tasks.start_soon(anyio.to_thread.run_sync, snapshot.remove_home)

    # -- the template -------------------------------------------------------------------------------------

    async def _keep_template(self) -> None:
        # Shielded: when somebody cancels the whole runner, `_end` still waits for the template's death to be seen here.
        with anyio.CancelScope(shield=True):
            pause = 0.0
            while not self._stop.is_set():
                began = time.monotonic()
                await self._live_once()
                # Dying young, again and again, must not keep the host busy.
                young = time.monotonic() - began < _SHORT_LIFE_S
                pause = min(_LONGEST_PAUSE_S, max(0.1, 2 * pause)) if young else 0.0
                with anyio.move_on_after(pause):
                    await self._stop.wait()
            self._over.set()

    async def _live_once(self) -> None:
        """Run one template until it ends, and clear up behind it."""
        ended = anyio.Event()

        def on_ended() -> None:
            # At once, so that whoever asked it for a container finds it gone, and waits for the next.
            self._template = None
            self._template_ready = anyio.Event()
            ended.set()

        try:
            template = TemplateProcess(self._settings.python, self._on_exited, on_ended)
        except RunnerError as error:
            self._trouble = str(error)
            log.error("the template could not be started", error=str(error))
            return
        self._template = template
        self._trouble = "has not answered"
        self._template_ready.set()
        await ended.wait()
        self._trouble = template.end
        if not self._stop.is_set():
            log.warning("the template ended, its containers with it", pid=template.pid, how=template.end)
        await self._bury(template)

    async def _bury(self, template: TemplateProcess) -> None:
        """Kill what is left of a template's containers, and report them."""
        snapshots = self._snapshots.of_template(template)
        for snapshot in snapshots:
            self._snapshots.give_up(snapshot)
        leaders = {each.pid for each in self._of_template(template)} | {each.pid for each in snapshots}
        try:
            await anyio.to_thread.run_sync(sweep, template.mark, leaders - {0})
        except TimeoutError as error:
            log.error("some processes of a dead template are left", error=str(error))
        for container in self._of_template(template):
            self._forget(container)
            container.lost(f"was lost with its template process, which {template.end}")
        for snapshot in snapshots:
            self._snapshot_ended(snapshot, f"was lost with its template process, which {template.end}")

    def _of_template(self, template: TemplateProcess) -> list[ProcessContainer]:
        return [each for each in self._containers.values() if each.template is template and each.pid]

    # -- ends of containers -------------------------------------------------------------------------------

    def _on_exited(self, end: Exited) -> None:
        container = self._containers.get(end.container_id)
        snapshot = self._snapshots.by_id(end.container_id)
        if container is not None and not container.pid:
            self._early_ends[end.container_id] = end
            return
        if snapshot is not None:
            self._snapshot_ended(snapshot, describe_end(*split_status(end.status)))
        if container is None:
            self._enforcer.ended(end.container_id)
            return
        kills, before = memory.oom_kills(), self._oom_kills
        self._oom_kills = kills
        self._forget(container)
        container.exited(end, kernel_oom=kills > before)

    def _forget(self, container: ProcessContainer) -> None:
        del self._containers[container.fork_id]
        self._enforcer.forget(container)
        if isinstance(container.server, Snapshot):
            self._snapshots.container_gone(container.server)
        if not self._containers:
            self._empty.set()

    async def _end(self) -> None:
        self._stop.set()
        with anyio.move_on_after(self._settings.stop_timeout):
            while self._containers:
                self._empty = anyio.Event()
                for container in self._containers.values():
                    container.kill("the worker ends")
                await self._empty.wait()
        if self._template is not None:
            self._template.close()
        with anyio.move_on_after(self._settings.stop_timeout):
            await self._over.wait()
            return
        if self._template is not None:
            self._template.destroy()
        await self._over.wait()
