"""The processes of a platform together: nats-server and the services, started, restarted, stopped in order."""

import os
import signal
from typing import Final, Protocol

from afield import _marks
from afield_platform.child import Child
from afield_platform.ground import Ground
from afield_platform.reactor import Reactor, Timer

NATS_PATIENCE: Final = 60.0
"""Seconds from SIGTERM to SIGKILL of nats-server: it takes 10 ms for each consumer that it has."""


class Watcher(Protocol):
    """Who is told what becomes of the processes."""

    def ended(self, child: Child, how: str, lived: float) -> bool:
        """A process ended after `lived` seconds; return whether to start it again (after its back-off)."""

    def changed(self) -> None:
        """A process was started."""

    def note(self, text: str) -> None:
        """Something worth a line in the log happened."""

    def all_stopped(self) -> None:
        """The last process has gone, after `stop`."""


class Fleet:
    """nats-server first, then the services."""

    def __init__(
        self,
        nats: Child,
        services: list[Child],
        ground: Ground,
        reactor: Reactor,
        watcher: Watcher,
        mark: str,
    ) -> None:
        self.nats = nats
        self.services = services
        self._ground = ground
        self._reactor = reactor
        self._watcher = watcher
        self._mark = mark
        self._restarts: dict[str, Timer] = {}
        self._stopping = False
        self._nats_signal = 0
        self._patience: Timer | None = None

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [self.nats, *self.services]

    def waiting(self) -> list[str]:
        """Return the roles that are not ready."""
        return [role for child in self.children for role in child.roles if role not in child.addresses]

    def start_all(self) -> None:
        """Start everything at once: the services retry until the server listens. Raises OSError."""
        for child in self.children:
            self._start(child)

    def start_over(self) -> None:
        """Start everything again, during the first start, with what the ground says now. Raises OSError."""
        for child in self.children:
            if child.pid:
                child.signal(signal.SIGKILL)
                child.ended(os.waitpid(child.pid, 0)[1])
        self.start_all()

    def reap(self) -> None:
        """Take note of the processes that ended; to be called on SIGCHLD."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            child = next((c for c in self.children if c.pid == pid), None)
            if child is not None:  # anything else is an orphan that the kernel gave to us
                self._ended(child, status)
        if self._stopping:
            self._go_on_stopping()

    def stop(self, patience: float, nats_signal: int) -> None:
        """Stop the services, killing after `patience` seconds what is left, then nats-server by `nats_signal`."""
        self._stopping = True
        self._nats_signal = nats_signal
        for timer in self._restarts.values():
            timer.cancel()
        self._signal(self.services, signal.SIGTERM)
        self._patience = self._reactor.call_later(patience, lambda: self._give_up(self.services))
        self._go_on_stopping()

    def kill(self) -> None:
        """Kill everything now."""
        self._signal(self.children, signal.SIGKILL)

    def _start(self, child: Child) -> None:
        child.start(self._ground.command(child.roles), self._ground.environment())
        self._watcher.changed()

    def _ended(self, child: Child, status: int) -> None:
        lived = child.lived
        how = child.ended(status)
        if self._stopping or not self._watcher.ended(child, how, lived):
            return
        if "worker" in child.roles:
            self._kill_orphans()
        self._restart_later(child, lived, f"{child.name} ended with {how} after {lived:.1f} s")

    def _restart_later(self, child: Child, lived: float, why: str) -> None:
        delay = child.backoff.delay(lived)
        self._watcher.note(f"{why}; starting it again in {delay:g} s")
        self._restarts[child.name] = self._reactor.call_later(delay, lambda: self._restart(child))

    def _restart(self, child: Child) -> None:
        try:
            self._start(child)
        except OSError as error:  # no memory or no process to be had now: that passes
            self._restart_later(child, 0.0, f"cannot start {child.name}: {error}")

    def _go_on_stopping(self) -> None:
        if any(child.pid for child in self.services):
            return
        if not self.nats.pid:
            self._watcher.all_stopped()
        elif self._nats_signal:
            signum, self._nats_signal = self._nats_signal, 0
            self._reactor.call_later(NATS_PATIENCE, lambda: self._give_up([self.nats]))
            self.nats.signal(signum)

    def _give_up(self, children: list[Child]) -> None:
        late = [child for child in children if child.pid]
        for child in late:
            self._watcher.note(f"{child.name} did not stop in time and is killed")
        self._signal(late, signal.SIGKILL)

    def _signal(self, children: list[Child], signum: int) -> None:
        for child in children:
            child.signal(signum)

    def _kill_orphans(self) -> None:
        """Kill the containers of a worker that has died, before another one starts."""
        killed = _marks.kill_all(self._orphans)
        if killed:
            self._watcher.note(f"killed {len(killed)} processes that the worker left over")

    def _orphans(self) -> set[int]:
        live = [child.pid for child in self.children if child.pid]
        kept = {os.getpid(), *live, *_marks.descendants(*live)}
        return (_marks.marked(self._mark) | _marks.descendants(os.getpid())) - kept
