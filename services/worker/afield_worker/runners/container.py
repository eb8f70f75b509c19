"""A container of the `process` runner: a forked process, its link, its pipes, and its control groups."""

import asyncio
import signal
import socket
from functools import partial
from typing import Any, Final

from afield._wire.guest import Exited, Start
from afield_worker.link import Link
from afield_worker.runners import memory
from afield_worker.runners.base import ContainerHandlers, ExitInfo, Stream, describe_end, split_status
from afield_worker.runners.cgroups import Group
from afield_worker.runners.forkserver import ForkServer
from afield_worker.runners.pipes import OutputPipe, make_pipe
from afield_worker.runners.template import TemplateProcess

LINK_PATIENCE: Final = 0.5
"""Seconds between the end of a link and the end of its container, at most."""


class ProcessContainer:
    """Made by ProcessRunner; see `base.Container`."""

    def __init__(
        self,
        spec: Start,
        template: TemplateProcess,
        handlers: ContainerHandlers,
        server: ForkServer,
        fork_id: str,
    ) -> None:
        self.id = spec.container_id
        self.pid = 0
        self.template = template
        """That it descends from."""
        self.server = server
        """That it is forked by: the template, or a snapshot below it."""
        self.fork_id = fork_id
        """What that knows it by."""
        self.group: Group | None = None
        self.spec = spec
        self._handlers = handlers
        self._kill_reason = ""
        self._limit_mib = spec.function.spec.resources.memory_limit_mib
        self._over_limit = False
        self._ended = False
        self._peak_kib = 0
        self._last_moment: asyncio.TimerHandle | None = None
        ours, theirs = socket.socketpair()
        self._link = Link(ours, self._on_frame, self._on_link_closed)
        out, out_in = make_pipe()
        err, err_in = make_pipe()
        self._pipes = (OutputPipe(out, "stdout", self._on_output), OutputPipe(err, "stderr", self._on_output))
        self.descriptors = (theirs.detach(), out_in, err_in)
        """The container's ends of link, stdout and stderr; who sends them closes them."""

    @property
    def ended(self) -> bool:
        """Whether it is gone, or was given up."""
        return self._ended

    def begin(self, pid: int) -> None:
        """The process is there: listen."""
        self.pid = pid
        self._link.start()
        self.resume_output()

    def send_start(self) -> None:
        """Have it load its code."""
        self._link.send(self.spec)

    def confine(self, group: Group) -> None:
        """It is in these control groups now."""
        self.group = group
        group.watch(self.kill_for_memory)

    def move(self, server: ForkServer, pid: int) -> Group | None:
        """It goes on as another process, which a snapshot forked; returns the groups of the one that it was."""
        self.server, self.fork_id, self.pid = server, self.id, pid
        group, self.group = self.group, None
        if group is not None:
            group.unwatch()
        return group

    @property
    def peak_kib(self) -> int:
        """The most memory that it has held so far, in KiB."""
        if not self._ended and self.pid:
            self.saw_memory(memory.peak_kib(self.pid))
            if self.group is not None:
                self.saw_memory(self.group.peak_kib())
        return self._peak_kib

    def saw_memory(self, kib: int) -> None:
        """It held this much."""
        self._peak_kib = max(self._peak_kib, kib)

    def send(self, frame: Any) -> None:
        """Send a frame; see `base.Container`."""
        self._link.send(frame)

    def interrupt(self) -> None:
        """Ring; see `base.Container`."""
        self._link.push()
        self.server.kill(self.fork_id, signal.SIGUSR1)

    def kill(self, reason: str = "") -> None:
        """Kill all its processes; `on_exit` follows."""
        if not self._ended:
            self._kill_reason = self._kill_reason or reason
            self.signal_all(signal.SIGKILL)

    def kill_for_memory(self) -> None:
        """Kill it for taking more memory than it may."""
        self._over_limit = True
        self.kill("it went over its memory limit")

    def signal_all(self, signum: int) -> None:
        """Send a signal to all its processes."""
        self.server.kill(self.fork_id, signum, tree=True)

    def drain_output(self) -> None:
        """Read what the pipes hold now."""
        for pipe in self._pipes:
            pipe.drain()

    def pause_output(self) -> None:
        """Stop reading the pipes."""
        for pipe in self._pipes:
            pipe.pause()

    def resume_output(self) -> None:
        """Read the pipes again."""
        for pipe in self._pipes:
            pipe.resume()

    # -- its end ------------------------------------------------------------------------------------------

    def exited(self, end: Exited, *, kernel_oom: bool) -> None:
        """The template reports the end. `kernel_oom`: the kernel has killed some process for lack of memory lately."""
        exit_code, signum = split_status(end.status)
        reason = describe_end(exit_code, signum)
        cpu_s = end.cpu_s
        self.saw_memory(end.max_rss_kib)
        if self.group is not None:
            cpu_s = max(cpu_s, self.group.cpu_s())
            counted = self.group.peak_kib()
            # It may have been the kernel who killed one of its processes, and the rest ended thereupon.
            self._over_limit = self._over_limit or self.group.oom_kills() > 0
            # What counts against a limit is less than what its processes have: they share pages with the template.
            self._peak_kib = counted if self._over_limit and counted else max(self._peak_kib, counted)
        oom = self._over_limit
        if oom:
            reason = f"used {self._peak_kib // 1024} MiB, its limit is {self._limit_mib} MiB"
        elif signum == signal.SIGKILL:
            if self._kill_reason:
                reason = f"was killed: {self._kill_reason}"
            elif kernel_oom:
                # Not certain: the kernel counts those whom it kills for limits of their own, elsewhere on the host, too.
                reason = f"{reason} (the kernel has just killed processes of this host for lack of memory)"
        elif self._kill_reason:
            reason = f"{reason} before it could be killed: {self._kill_reason}"
        self._finish(ExitInfo(exit_code, signum, oom, self._peak_kib, reason, cpu_s=cpu_s))

    def lost(self, why: str) -> None:
        """The process that forked it is gone, and the container with it."""
        self._finish(ExitInfo(None, signal.SIGKILL, False, self._peak_kib, why, platform=why))

    def discard(self) -> None:
        """Close what belongs to a container that was never begun; nobody is told."""
        self._ended = True
        self._remove_group()
        self._link.close()
        for pipe in self._pipes:
            pipe.close()

    def _finish(self, info: ExitInfo) -> None:
        self._link.read_now()
        self._link.close()
        self._ended = True
        self._remove_group()
        if self._last_moment is not None:
            self._last_moment.cancel()
        for pipe in self._pipes:
            pipe.finish()
        self._handlers.on_exit(self, info)

    def _remove_group(self) -> None:
        if self.group is not None:
            self.group.unwatch()
            self.group.remove()

    def _on_frame(self, frame: Any) -> None:
        self._handlers.on_frame(self, frame)

    def _on_output(self, stream: Stream, data: bytes) -> None:
        self._handlers.on_output(self, stream, data)

    def _on_link_closed(self, error: Exception | None) -> None:
        """The container exits, or user code closed the link, and no input will ever end.

        A kill of ours would hide how it ended by itself, so that gets a moment to be told.
        """
        if error is not None:
            self.kill(f"its link broke: {error}")
            return
        kill = partial(self.kill, "its link was closed from within")
        self._last_moment = asyncio.get_running_loop().call_later(LINK_PATIENCE, kill)
