"""A container of the `process` runner: a forked process, its link and its pipes."""

import asyncio
import os
import signal
import socket
from functools import partial
from typing import Any, Final

from afield._wire.guest import Exited, Start
from afield_worker.link import Link
from afield_worker.runners import memory
from afield_worker.runners.base import ContainerHandlers, ExitInfo, Stream, describe_end
from afield_worker.runners.pipes import OutputPipe, make_pipe
from afield_worker.runners.template import TemplateProcess

LINK_PATIENCE: Final = 0.5
"""Seconds between the end of a link and the end of its container, at most."""


class ProcessContainer:
    """Made by ProcessRunner; see `base.Container`."""

    def __init__(self, spec: Start, template: TemplateProcess, handlers: ContainerHandlers) -> None:
        self.id = spec.container_id
        self.pid = 0
        self.template = template
        self._spec = spec
        self._handlers = handlers
        self._kill_reason = ""
        self._oom_reason = ""
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

    def begin(self, pid: int) -> None:
        """The process is there: send Start, and listen."""
        self.pid = pid
        self._link.send(self._spec)
        self._link.start()
        self.resume_output()

    @property
    def max_rss(self) -> int:
        """The most memory that its leader has held so far, in KiB."""
        if not self._ended and self.pid:
            self._peak_kib = max(self._peak_kib, memory.peak_kib(self.pid))
        return self._peak_kib

    def send(self, frame: Any) -> None:
        """Send a frame; see `base.Container`."""
        self._link.send(frame)

    def interrupt(self) -> None:
        """Ring; see `base.Container`."""
        self.template.kill(self.id, signal.SIGUSR1)

    def kill(self, reason: str = "") -> None:
        """Kill all its processes; `on_exit` follows."""
        if not self._ended:
            self._kill_reason = self._kill_reason or reason
            self.template.kill(self.id, signal.SIGKILL, tree=True)

    def kill_for_memory(self, excess: memory.Excess) -> None:
        """Kill it for taking more memory than it may."""
        limit, used = excess.limit.kib // 1024, excess.used_kib // 1024
        self._oom_reason = f"took {used} MiB of memory, more than its limit of {limit} MiB"
        self.kill(self._oom_reason)

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
        exit_code = os.WEXITSTATUS(end.status) if os.WIFEXITED(end.status) else None
        signum = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else None
        reason = describe_end(exit_code, signum)
        oom = False
        if signum == signal.SIGKILL:
            if self._oom_reason or self._kill_reason:
                oom, reason = bool(self._oom_reason), self._oom_reason or f"was killed: {self._kill_reason}"
            elif kernel_oom:
                oom, reason = True, "was killed by the kernel, as the host ran out of memory"
        elif self._kill_reason:
            reason = f"{reason} before it could be killed: {self._kill_reason}"
        self._finish(ExitInfo(exit_code, signum, oom, max(self._peak_kib, end.max_rss_kib), reason))

    def lost(self, why: str) -> None:
        """The template is gone, and the container with it."""
        self._finish(ExitInfo(None, signal.SIGKILL, False, self._peak_kib, why, platform=why))

    def discard(self) -> None:
        """Close what belongs to a container that was never begun; nobody is told."""
        self._ended = True
        self._link.close()
        for pipe in self._pipes:
            pipe.close()

    def _finish(self, info: ExitInfo) -> None:
        self._link.read_now()
        self._link.close()
        self._ended = True
        self._peak_kib = info.max_rss_kib
        if self._last_moment is not None:
            self._last_moment.cancel()
        for pipe in self._pipes:
            pipe.finish()
        self._handlers.on_exit(self, info)

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
