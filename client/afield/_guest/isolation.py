"""What a process does right after its fork, to be a container and nothing of the template any more."""

import faulthandler
import fcntl
import gc
import io
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from afield._guest import processes
from afield._guest.link import Link

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from afield._guest.template import Newborn

_HIGH: Final = 900
"""Lowest number of the link's descriptor: user code that closes or reuses small numbers does not meet it."""

_OOM_SCORE: Final = 500
"""When the host runs out of memory, the kernel should take a container before any part of the platform."""


def isolate(newborn: "Newborn") -> Link:
    """Make this forked process a container and return its link to the worker."""
    os.setsid()
    processes.die_with(newborn.parent)
    processes.become_subreaper()
    processes.set_name(f"afield {newborn.fork.container_id[-8:]}")
    for signum in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _volunteer_for_oom()
    link = _arrange_descriptors(*newborn.descriptors)
    _open_streams()
    set_environment(newborn.fork.env)
    _reseed()
    gc.enable()
    return link


def _volunteer_for_oom() -> None:
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            if int(file.read()) < _OOM_SCORE:
                file.seek(0)
                file.write(str(_OOM_SCORE))
    except OSError:
        pass  # a /proc that cannot be written; then the kernel chooses as it likes


def set_environment(env: Mapping[str, str]) -> None:
    """Add to this process's environment, with what the interpreter reads only at its start."""
    os.environ.update(env)
    if "TZ" in env:
        time.tzset()
    for folder in reversed(env.get("PYTHONPATH", "").split(os.pathsep)):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)


def _arrange_descriptors(link: int, stdout: int, stderr: int) -> Link:
    """Put the descriptors where they belong, and close all others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = fcntl.fcntl(link, fcntl.F_DUPFD_CLOEXEC, min(_HIGH, soft // 2))
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    _close_others(keep=(0, 1, 2, high))
    return Link(socket.socket(fileno=high))


def _close_others(keep: Collection[int]) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd in keep:
            continue
        try:
            os.close(fd)
        except OSError:
            pass  # the descriptor with which the folder was listed


class _Unbuffered(io.FileIO):
    """Descriptor 1 or 2. A write is whole: neither a signal in the middle of it nor a full pipe loses anything."""

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            # The pipe is shared with subprocesses, some of which make it non-blocking: then this may be None.
            written: int | None = super().write(view[done:])
            if written is None:
                waiter = select.poll()
                waiter.register(self, select.POLLOUT)
                waiter.poll()
            else:
                done += written
        return done


def _open_streams() -> None:
    """Replace sys.stdin, stdout and stderr, unbuffered: output is live without a newline, and survives a crash."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _text(1)
    sys.stderr = _text(2)
    faulthandler.enable(2)  # a crash by signal shows where it was, in the log
    # What code falls back on that replaced the others for a while.
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def _text(fd: int) -> io.TextIOWrapper:
    raw: Any = _Unbuffered(fd, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _reseed() -> None:
    """Give this container random numbers of its own; its siblings were forked from the same state."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
