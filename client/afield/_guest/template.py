"""The fork server: a process that has everything imported, and becomes a container by forking.

`python -P -m afield._guest.template`, started by a worker with a control socket as descriptor AFIELD_TEMPLATE_FD. It
has one thread and no event loop, so that its forks are whole. It owns every process of its containers: each
container adopts its own orphans, and what a dead container leaves behind falls to the template, which kills it
before it reports the end. It ends with its worker, and its containers with it. A container that becomes a snapshot
(`snapshot.py`) serves in the same way.
"""

import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Final, NamedTuple

from afield._guest import cstdio, processes
from afield._guest.control import DESCRIPTORS, SNAPSHOT_DESCRIPTORS, ControlSocket
from afield._guest.crashes import Crash
from afield._guest.errors import GuestError, LinkClosedError
from afield._guest.variables import CONTROL_FD
from afield._wire.guest import Exited, Fork, Forked, Kill

LEFTOVER_PATIENCE: Final = 2.0
"""Seconds that the end of a container waits for what it left behind to die."""


class Newborn(NamedTuple):
    """What the forked child knows: it returns out of the template's loop with this, to become a container."""

    fork: Fork
    parent: int
    forked_at: float
    """time.monotonic() just before the fork."""
    descriptors: tuple[int, int, int, int]
    """Link, stdout, stderr, and the file for a crash."""
    control: int = -1
    """The control socket of one that may become a snapshot."""


class Template:
    """The server's state: its containers by process id, and the ends that are not reported yet."""

    def __init__(self, control: ControlSocket) -> None:
        self._control = control
        self._leaders: dict[int, str] = {}
        self._crashes: dict[int, Crash] = {}
        self._ended: list[Exited] = []
        self._report_by = 0.0
        self._stopping = False
        self._wake, wake_in = socket.socketpair()
        self._wake_in = wake_in
        for end in (self._wake, wake_in):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _note)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A container inherits this, and is safe to ring before it has a handler of its own.
        signal.signal(signal.SIGUSR1, _note)
        signal.set_wakeup_fd(wake_in.fileno(), warn_on_full_buffer=False)

    def serve(self) -> Newborn | None:
        """Fork containers until the worker goes; return None then, and a Newborn in each forked child."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._stopping:
            timeout = max(0.0, self._report_by - time.monotonic()) * 1000 if self._ended else None
            for fd, _ in poller.poll(timeout):
                if fd == self._wake.fileno():
                    self._wake.recv(4096)
                    continue
                try:
                    newborn = self._obey()
                except LinkClosedError:
                    return None
                if newborn:
                    return newborn
            self._reap()
        return None

    def abandon(self) -> None:
        """In a forked child: let go of all that is the template's."""
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._wake_in.close()
        self._control.close()
        for crash in self._crashes.values():
            crash.close()

    def end(self) -> None:
        """Kill every container with all that descends from it, and wait for them."""
        while found := processes.descendants(processes.children(os.getpid())):
            processes.signal_all(found, signal.SIGKILL)
            os.waitpid(-1, 0)

    def _on_term(self, *_: object) -> None:
        self._stopping = True

    def _obey(self) -> Newborn | None:
        # A child returns from within the loop: the commands behind its own are its parent's business.
        for command in self._control.receive():
            if isinstance(command, Fork):
                number = SNAPSHOT_DESCRIPTORS if command.snapshot_home else DESCRIPTORS
                newborn = self.fork(command, self._control.take_descriptors(number))
                if newborn:
                    return newborn
            elif isinstance(command, Kill):
                self._kill(command)
        return None

    def fork(self, command: Fork, descriptors: list[int]) -> Newborn | None:
        """Fork a container, and tell the worker; return a Newborn in the child. The descriptors are closed here."""
        expected = SNAPSHOT_DESCRIPTORS if command.snapshot_home else DESCRIPTORS
        if len(descriptors) < expected:
            error = f"expected {expected} descriptors with a Fork, got {len(descriptors)}"
            for fd in descriptors:
                os.close(fd)
            self._control.send(Forked(container_id=command.container_id, pid=0, error=error))
            return None
        link, stdout, stderr = descriptors[:DESCRIPTORS]
        parent, forked_at = os.getpid(), time.monotonic()
        crash: Crash | None = None
        pid, problem = 0, ""
        try:
            crash = Crash(stderr)
            pid = os.fork()
        except OSError as error:
            problem = f"fork: {error}"
            if crash:
                crash.close()
        else:
            if pid == 0:
                control = descriptors[DESCRIPTORS] if command.snapshot_home else -1
                return Newborn(command, parent, forked_at, (link, stdout, stderr, crash.keep_file()), control)
            self._leaders[pid] = command.container_id
            self._crashes[pid] = crash
        for fd in descriptors:
            os.close(fd)
        self._control.send(Forked(container_id=command.container_id, pid=pid, error=problem))
        return None

    def _kill(self, command: Kill) -> None:
        for pid, container_id in self._leaders.items():
            if container_id == command.container_id:
                # For SIGKILL the leader is enough: the rest falls to us when it is dead, and cannot run away from us.
                tree = command.tree and command.signal != signal.SIGKILL
                processes.signal_all(processes.descendants([pid]) if tree else [pid], command.signal)

    def _reap(self) -> None:
        """Take in the dead, kill what dead containers left behind, and report the ends when nothing is left."""
        while self._wait_one():
            pass
        if not self._ended:
            return
        # Containers adopt their own orphans, so any other child of ours has lost its container.
        leftovers = [pid for pid in processes.children(os.getpid()) if pid not in self._leaders]
        if leftovers and time.monotonic() < self._report_by:
            processes.signal_all(processes.descendants(leftovers), signal.SIGKILL)
            return
        ended, self._ended = self._ended, []
        for exited in ended:
            self._control.send(exited)

    def _wait_one(self) -> bool:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        container_id = self._leaders.pop(pid, None)
        if container_id is not None:
            if not self._ended:
                self._report_by = time.monotonic() + LEFTOVER_PATIENCE
            end = Exited(
                container_id=container_id,
                pid=pid,
                status=status,
                max_rss_kib=usage.ru_maxrss,
                cpu_s=usage.ru_utime + usage.ru_stime,
            )
            self._ended.append(end)
            crash = self._crashes.pop(pid)
            crash.tell(status)
            crash.close()
        return pid != 0


def _note(*_: object) -> None:
    """Do nothing: the signal's byte in the wake-up socket is what counts."""


def main() -> None:
    """Run the fork server; in a forked child, become the container."""
    parent = os.getppid()
    fd = int(os.environ.pop(CONTROL_FD))
    os.set_inheritable(fd, False)
    # Not SIGKILL: with a handler it can still kill what its containers started, even if nobody else sweeps.
    processes.die_with(parent, signal.SIGTERM)
    processes.become_subreaper()
    processes.set_name("afield-template")
    from afield._guest import preload

    preload.run()
    cstdio.buffer_by_line()
    _require_one_thread()
    gc.collect()
    gc.freeze()
    template = Template(ControlSocket(fd))
    newborn = template.serve()
    if newborn is None:
        template.end()
        sys.exit(0)
    template.abandon()
    from afield._guest import isolation, lifecycle

    if newborn.control >= 0:
        newborn = newborn._replace(control=isolation.raise_descriptor(newborn.control))
    lifecycle.live(newborn)


def _require_one_thread() -> None:
    names = [thread.name for thread in threading.enumerate()]
    if len(os.listdir("/proc/self/task")) > 1:
        raise GuestError(
            f"expected a template with one thread, got more ({', '.join(names)}): it could not be forked"
        )


if __name__ == "__main__":
    # By its proper name, so that no class of this file exists twice.
    from afield._guest.template import main as run

    run()
