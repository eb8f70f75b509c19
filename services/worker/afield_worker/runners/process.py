"""The `process` runner: containers are forks of a template process, each the leader of its own session."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Self

import anyio
import anyio.to_thread

from afield._wire.guest import Exited, Fork, Start
from afield_common.log import get_logger
from afield_worker.runners import memory
from afield_worker.runners.base import ContainerHandlers, RunnerError
from afield_worker.runners.container import ProcessContainer
from afield_worker.runners.memory import Limit
from afield_worker.runners.sweep import sweep
from afield_worker.runners.template import TemplateEndedError, TemplateProcess

MEMORY_CHECK_S: Final = 0.1
"""Seconds between looks at the memory of containers that have a limit."""

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


class ProcessRunner(anyio.AsyncContextManagerMixin):
    """Keeps one template process alive, and has it fork containers.

    The template starts with the `async with` block; when it dies its containers are reported, and another is started.
    At the end of the block all containers are killed and reported.
    """

    name = "process"

    def __init__(self, settings: ProcessSettings | None = None) -> None:
        self._settings = settings or ProcessSettings()
        self._template: TemplateProcess | None = None
        self._template_ready = anyio.Event()
        self._trouble = "has not been started"
        self._containers: dict[str, ProcessContainer] = {}
        self._early_ends: dict[str, Exited] = {}
        self._limits: dict[str, Limit] = {}
        self._limited = anyio.Event()
        self._oom_kills = memory.oom_kills()
        self._stop = anyio.Event()
        self._over = anyio.Event()
        self._empty = anyio.Event()

    @property
    def template_pid(self) -> int:
        """The process id of the template, 0 while there is none."""
        return self._template.pid if self._template else 0

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_template)
            tasks.start_soon(self._watch_memory)
            try:
                yield self
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end()
                tasks.cancel_scope.cancel()

    async def start(
        self, spec: Start, env: dict[str, str], memory_limit_mib: int | None, handlers: ContainerHandlers
    ) -> ProcessContainer:
        """Start a container and send it `spec`; handlers are called from the moment that this returns.

        `env` goes over the environment of the function itself. A container whose processes together hold more than
        `memory_limit_mib` is killed. Raises RunnerError.
        """
        fork = Fork(
            container_id=spec.container_id,
            env={**spec.function.spec.env, **env},
            memory_limit_mib=memory_limit_mib,
        )
        problem: RunnerError = RunnerError("the runner is ending")
        with anyio.move_on_after(self._settings.start_timeout) as scope:
            for _ in range(_TRIES):
                try:
                    container = await self._try_start(spec, fork, handlers)
                except TemplateEndedError as error:
                    problem = error
                else:
                    self._limit_memory(container, memory_limit_mib)
                    return container
        if scope.cancelled_caught:
            timeout = self._settings.start_timeout
            problem = RunnerError(
                f"no container was forked within {timeout:g} s; the template {self._trouble}"
            )
        raise problem

    async def _try_start(self, spec: Start, fork: Fork, handlers: ContainerHandlers) -> ProcessContainer:
        while (template := self._template) is None:  # one may have come, and gone before this task's turn
            await self._template_ready.wait()
        container = ProcessContainer(spec, template, handlers)
        self._containers[container.id] = container
        try:
            pid = await template.fork(fork, container.descriptors)
            if template.end:
                raise TemplateEndedError(f"the template process {template.end}")
            container.begin(pid)
        except BaseException:
            self._forget(container)
            self._early_ends.pop(container.id, None)
            container.discard()
            raise
        self._oom_kills = memory.oom_kills()
        early = self._early_ends.pop(container.id, None)
        if early is not None:
            asyncio.get_running_loop().call_soon(self._on_exited, early)
        return container

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
        lost = [each for each in self._containers.values() if each.template is template and each.pid]
        try:
            await anyio.to_thread.run_sync(sweep, template.mark, {each.pid for each in lost})
        except TimeoutError as error:
            log.error("some processes of a dead template are left", error=str(error))
        for container in lost:
            self._forget(container)
            container.lost(f"was lost with its template process, which {template.end}")

    # -- ends of containers -------------------------------------------------------------------------------

    def _on_exited(self, end: Exited) -> None:
        container = self._containers.get(end.container_id)
        if container is None:
            return  # whoever asked for it has given up
        if not container.pid:
            self._early_ends[end.container_id] = end
            return
        kills, before = memory.oom_kills(), self._oom_kills
        self._oom_kills = kills
        self._forget(container)
        container.exited(end, kernel_oom=kills > before)

    def _forget(self, container: ProcessContainer) -> None:
        del self._containers[container.id]
        self._limits.pop(container.id, None)
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

    # -- memory -------------------------------------------------------------------------------------------

    def _limit_memory(self, container: ProcessContainer, limit_mib: int | None) -> None:
        if limit_mib is not None and container.id in self._containers:
            self._limits[container.id] = Limit(container.id, container.pid, limit_mib * 1024)
            self._limited.set()

    async def _watch_memory(self) -> None:
        """Kill containers over their limit. This is a poll, since Linux tells nobody without a cgroup of one's own."""
        while True:
            await self._limited.wait()
            while self._limits:
                limits = list(self._limits.values())
                for excess in await anyio.to_thread.run_sync(memory.find_excess, limits):
                    container = self._containers.get(excess.limit.container_id)
                    if container is not None:
                        container.kill_for_memory(excess)
                await anyio.sleep(MEMORY_CHECK_S)
            self._limited = anyio.Event()
