"""Enforces limits by looking, for those that no control group enforces.

It is a poll: Linux tells nobody how much a process takes, but through a control group.
"""

import signal
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import anyio
import anyio.to_thread

from afield_worker.runners import memory
from afield_worker.runners.container import ProcessContainer
from afield_worker.runners.throttle import Throttle, tree_cpu_s

CHECK_S: Final = 0.1
"""Seconds between two looks."""


class Watched(NamedTuple):
    """A container with a limit."""

    container: ProcessContainer
    limit_kib: int | None
    throttle: Throttle | None


class Look(NamedTuple):
    """What a container takes; None for what is not limited."""

    used_kib: int | None
    cpu_s: float | None
    at: float


class Watch:
    """Kills what takes too much memory, and pauses what takes too much processor time."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._some = anyio.Event()

    def add(self, container: ProcessContainer, memory_mib: int | None, cores: float | None) -> None:
        """Watch a container; a limit that is None is not watched."""
        if memory_mib is None and cores is None:
            return
        limit_kib = None if memory_mib is None else memory_mib * 1024
        throttle = None if cores is None else Throttle(cores)
        self._watched[container.id] = Watched(container, limit_kib, throttle)
        self._some.set()

    def remove(self, container: ProcessContainer) -> None:
        """It is gone."""
        self._watched.pop(container.id, None)

    async def run(self) -> None:
        """Look now and then, while there is something to see."""
        while True:
            await self._some.wait()
            while self._watched:
                watched = list(self._watched.values())
                looks = await anyio.to_thread.run_sync(_look_at, watched)
                for each, look in zip(watched, looks, strict=True):
                    if each.container.id in self._watched:
                        _judge(each, look)
                await anyio.sleep(CHECK_S)
            self._some = anyio.Event()


def _look_at(watched: Sequence[Watched]) -> list[Look]:
    return [
        Look(
            None if limit_kib is None else memory.tree_kib(container.pid, suspicious_kib=limit_kib),
            None if throttle is None else tree_cpu_s(container.pid),
            time.monotonic(),
        )
        for container, limit_kib, throttle in watched
    ]


def _judge(watched: Watched, look: Look) -> None:
    container, limit_kib, throttle = watched
    if limit_kib is not None and look.used_kib is not None:
        container.saw_memory(look.used_kib)
        if look.used_kib > limit_kib:
            container.kill_for_memory()
    if throttle is not None and look.cpu_s is not None:
        was = throttle.paused
        if throttle.update(look.at, look.cpu_s):
            # Again each time: it may have had children that were born while the others were stopped.
            container.signal_all(signal.SIGSTOP)
        elif was:
            container.signal_all(signal.SIGCONT)
