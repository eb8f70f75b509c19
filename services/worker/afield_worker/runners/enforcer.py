"""Holds the containers of a runner to their limits: by control groups where it may make them, else by watching."""

import os
import secrets
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from afield import _cgroups
from afield_common.log import get_logger
from afield_worker.runners.cgroups import Group, Groups, Limits
from afield_worker.runners.container import ProcessContainer
from afield_worker.runners.watch import Watch

WEIGH_S: Final = 1.0
"""Seconds after which a container without limits gets its weight: one that lives shorter needs none.

The kernel takes up to a few hundredths of a second to move a process, which a cold start should not wait for.
"""

log = get_logger(__name__)


class Enforcer:
    """Enforces limits from `open` to `close`."""

    def __init__(self, *, use_cgroups: bool = True) -> None:
        self._use_cgroups: Final = use_cgroups
        self._claim: _cgroups.Claim | None = None
        self._groups: Groups | None = None
        self._watch = Watch()
        self._light: dict[str, ProcessContainer] = {}
        """Containers without a weight, by fork id."""
        self._some_light = anyio.Event()
        self._late: dict[str, Group] = {}
        """Groups of containers that were given up while they were started, by fork id."""

    @property
    def mechanisms(self) -> dict[str, str]:
        """What enforces limits of `memory` and `cpu`."""
        found = {each: self._groups.mechanism(each) if self._groups else "" for each in _cgroups.CONTROLLERS}
        return {"memory": found["memory"] or "watching", "cpu": found["cpu"] or "pausing"}

    @property
    def bases(self) -> dict[str, _cgroups.Base]:
        """The control groups below which containers have theirs, by controller."""
        return dict(self._claim.bases) if self._claim else {}

    async def open(self) -> None:
        """Claim control groups, and remove those that workers before have left."""
        if self._use_cgroups:
            await anyio.to_thread.run_sync(self._open)

    def run(self, tasks: TaskGroup) -> None:
        """Start what goes on in the background."""
        tasks.start_soon(self._watch.run)
        if self._groups is not None and self._groups.mechanism("cpu"):
            tasks.start_soon(self._weigh)

    def close(self) -> None:
        """Remove all control groups, whose containers must be gone."""
        if self._claim is not None:
            self._claim.close()

    async def confine(self, container: ProcessContainer, pid: int) -> None:
        """Hold a container to its limits, before user code runs in it; `pid` is its process."""
        limits = Limits.of(container.spec.function.spec.resources)
        group = None
        if limits.memory_mib is not None or limits.cpu_limit is not None:
            group = await self._enclose(container, limits, pid)
        memory_mib = None if group is not None and "memory" in group.parts else limits.memory_mib
        cores = None if group is not None and "cpu" in group.parts else limits.cpu_limit
        self._watch.add(container, memory_mib, cores)

    def begun(self, container: ProcessContainer) -> None:
        """A container is there, confined: if it has no control group yet, it gets its weight in a moment."""
        if container.group is None:
            self._light[container.fork_id] = container
            self._some_light.set()

    def forget(self, container: ProcessContainer) -> None:
        """A container is gone."""
        self._watch.remove(container)
        self._light.pop(container.fork_id, None)

    def give_up(self, container: ProcessContainer) -> None:
        """A container is killed before it has begun: its groups go when it has gone."""
        self.forget(container)
        if container.group is not None:
            self._late[container.fork_id] = container.group
            container.group.unwatch()
            container.group = None

    def ended(self, fork_id: str) -> None:
        """Somebody who was given up is gone."""
        group = self._late.pop(fork_id, None)
        if group is not None:
            group.remove()

    def keep(self, fork_id: str, group: Group | None) -> None:
        """These groups belong to a process that is no container any more; `ended` follows."""
        if group is not None:
            self._late[fork_id] = group

    def _open(self) -> None:
        _cgroups.sweep()
        self._claim = _cgroups.Claim(f"{os.getpid()}-{secrets.token_hex(4)}")
        self._groups = Groups(self._claim, os.cpu_count() or 1)

    async def _enclose(self, container: ProcessContainer, limits: Limits, pid: int) -> Group | None:
        if self._groups is None:
            return None
        name = container.fork_id
        try:
            group = await anyio.to_thread.run_sync(self._groups.create, name, limits)
            if container.ended or container.fork_id != name:
                group.remove()
                return None
            container.confine(group)
            await anyio.to_thread.run_sync(group.add_tree, pid)
        except OSError as error:
            log.warning("no control group for a container", container_id=container.id, error=str(error))
            return None
        return group

    async def _weigh(self) -> None:
        """Give each container its weight when it has lived for a moment."""
        while True:
            await self._some_light.wait()
            self._some_light = anyio.Event()
            await anyio.sleep(WEIGH_S)
            light, self._light = self._light, {}
            for container in light.values():
                if container.ended:
                    continue
                limits = Limits.of(container.spec.function.spec.resources)
                await self._enclose(container, limits, container.pid)
