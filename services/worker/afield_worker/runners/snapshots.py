"""The snapshots of a runner: containers that became templates, one for each version of a function.

The first container of such a function is started with a socket more. Its process loads the code, runs the function's
`enter(snap=True)`, and says on that socket that it is a template now, whose first container is the one that was asked
for; further ones are forked from it. Or it says why not, and goes on as an ordinary container, and so do those that
follow.
"""

import asyncio
import shutil
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

from afield._wire.functions import FunctionRecord
from afield._wire.guest import Exited, Forked, Start
from afield._wire.ids import random_body
from afield_worker.runners.forkserver import ForkServer
from afield_worker.runners.template import TemplateProcess

LEAST_IDLE_S: Final = 60.0
"""Seconds that a snapshot without containers stays, at least; the function's scaledown window, if that is longer."""

_MOST_REFUSALS: Final = 1000
"""Functions of which it is remembered that they cannot be forked."""

SnapshotKey = tuple[str, int]
"""Function id and version."""


class Snapshot(ForkServer):
    """A container on its way to be a template, or one that is."""

    def __init__(
        self,
        spec: Start,
        template: TemplateProcess,
        on_exited: Callable[[Exited], None],
        on_forked: "Callable[[Snapshot, Forked], None]",
        on_close: "Callable[[Snapshot], None]",
    ) -> None:
        function = spec.function
        self.id: Final = f"sn-{random_body()}"
        """What the template knows its process by."""
        self.key: Final[SnapshotKey] = (function.function_id, function.version)
        self.app_id: Final = function.app_id
        self.template: Final = template
        self.first: Final = spec.container_id
        """The container that it began as."""
        self.home: Final = Path(f"{spec.home}.snapshot")
        """What its code is loaded from. Modules stay in use for as long as its process lives."""
        self.idle_s: Final = max(LEAST_IDLE_S, function.spec.scaling.scaledown_window)
        self.ready = False
        """Whether it is a template."""
        self.pid = 0
        """Its process, when it is one."""
        self.containers = 0
        """Forked from it, and not gone yet."""
        self.outdated = False
        """Whether nobody will ask for a fork again."""
        self.idle_timer: asyncio.TimerHandle | None = None
        self.settled = anyio.Event()
        """Set when it is known whether it became a template."""
        self._on_first_fork = on_forked
        ours, theirs = socket.socketpair()
        self.descriptor: Final = theirs.detach()
        """Its end of the control socket; who sends it closes it."""
        super().__init__(f"the snapshot of {function.spec.name}", ours, on_exited, lambda: on_close(self))

    def make_home(self, home: str) -> None:
        """Make its folder, with the source that the folder of a container has. Blocks."""
        self.home.mkdir(mode=0o700)
        for entry in Path(home).iterdir():
            (self.home / entry.name).symlink_to(entry.resolve())

    def remove_home(self) -> None:
        """Remove its folder. Blocks."""
        shutil.rmtree(self.home, ignore_errors=True)

    def on_forked(self, frame: Forked) -> None:
        """It has forked. The first time, unasked, it says whether it is a template."""
        if self.settled.is_set():
            super().on_forked(frame)
        else:
            self._on_first_fork(self, frame)


class Snapshots:
    """Which snapshots there are, which are being made, and which functions have none."""

    def __init__(self) -> None:
        self._by_key: dict[SnapshotKey, Snapshot] = {}
        self._by_id: dict[str, Snapshot] = {}
        self._refused: OrderedDict[str, int] = OrderedDict()
        """Function id to the version that cannot be forked."""

    def __len__(self) -> int:
        return len(self._by_id)

    def wanted(self, function: FunctionRecord) -> bool:
        """Tell whether containers of this function should have one."""
        refused = self._refused.get(function.function_id) == function.version
        return function.spec.snapshot and not refused

    def find(self, function: FunctionRecord) -> Snapshot | None:
        """Return the function's snapshot, which may be in the making."""
        return self._by_key.get((function.function_id, function.version))

    def by_id(self, snapshot_id: str) -> Snapshot | None:
        """Return the snapshot that the template knows by this id, whatever became of it, while its process lives."""
        return self._by_id.get(snapshot_id)

    def add(self, snapshot: Snapshot) -> None:
        """One is being made; those of other versions go when their containers have gone."""
        for other in list(self._by_key.values()):
            if other.key[0] == snapshot.key[0] and other.key[1] < snapshot.key[1]:
                self._outdate(other)
        self._by_key[snapshot.key] = self._by_id[snapshot.id] = snapshot

    def made(self, snapshot: Snapshot, pid: int) -> None:
        """It is a template; `pid` is its process."""
        snapshot.ready, snapshot.pid = True, pid
        snapshot.settled.set()

    def refuse(self, snapshot: Snapshot) -> None:
        """Its function cannot be forked: it goes on as a container, and those to come start without one."""
        self._refused[snapshot.key[0]] = snapshot.key[1]
        self._refused.move_to_end(snapshot.key[0])
        if len(self._refused) > _MOST_REFUSALS:
            self._refused.popitem(last=False)
        self.give_up(snapshot)

    def give_up(self, snapshot: Snapshot) -> None:
        """It takes no more containers; who waits for it starts without one."""
        if self._by_key.get(snapshot.key) is snapshot:
            del self._by_key[snapshot.key]
        self._cancel_timer(snapshot)
        snapshot.settled.set()

    def ended(self, snapshot: Snapshot, how: str) -> None:
        """Its process is gone."""
        self.give_up(snapshot)
        self._by_id.pop(snapshot.id, None)
        snapshot.ended(how)

    def of_template(self, template: TemplateProcess) -> list[Snapshot]:
        """Return those whose process descends from this template."""
        return [each for each in self._by_id.values() if each.template is template]

    def retire(self, app_id: str, function_id: str) -> None:
        """An app or a function was stopped: its snapshots go when their containers have gone."""
        for snapshot in list(self._by_key.values()):
            if snapshot.app_id == app_id or snapshot.key[0] == function_id:
                self._outdate(snapshot)

    def container_began(self, snapshot: Snapshot) -> None:
        """A container is being forked from it."""
        snapshot.containers += 1
        self._cancel_timer(snapshot)

    def container_gone(self, snapshot: Snapshot) -> None:
        """A container that was forked from it is gone, or was not forked after all."""
        snapshot.containers -= 1
        if snapshot.containers == 0 and not snapshot.end:
            self._rest(snapshot)

    def _outdate(self, snapshot: Snapshot) -> None:
        snapshot.outdated = True
        if snapshot.settled.is_set():  # else it is told when its first container has gone
            del self._by_key[snapshot.key]
            if snapshot.containers == 0:
                self._rest(snapshot)

    def _rest(self, snapshot: Snapshot) -> None:
        """Nobody needs it now: end it when that has lasted."""
        self._cancel_timer(snapshot)
        loop = asyncio.get_running_loop()
        snapshot.idle_timer = loop.call_later(
            0.0 if snapshot.outdated else snapshot.idle_s, self._end, snapshot
        )

    def _end(self, snapshot: Snapshot) -> None:
        self.give_up(snapshot)
        snapshot.close()
        snapshot.template.kill(snapshot.id, signal.SIGKILL)

    def _cancel_timer(self, snapshot: Snapshot) -> None:
        if snapshot.idle_timer is not None:
            snapshot.idle_timer.cancel()
            snapshot.idle_timer = None
