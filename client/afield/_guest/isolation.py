"""What a process does right after its fork, to be a container and nothing of the template any more."""

import fcntl
import gc
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from afield._guest import crashes, processes
from afield._guest.link import Link
from afield._guest.streams import Streams

if TYPE_CHECKING:
    from afield._guest.template import Newborn

_HIGH: Final = 900
"""Lowest number of descriptors of ours: user code that closes or reuses small numbers does not meet them."""

_OOM_SCORE: Final = 500
"""When the host runs out of memory, the kernel should take a container before any part of the platform."""


def isolate(newborn: "Newborn") -> tuple[Link, Streams]:
    """Make this forked process a container and return its link to the worker, and its standard streams."""
    os.setsid()
    processes.die_with(newborn.parent)
    processes.become_subreaper()
    processes.set_name(f"afield {newborn.fork.container_id[-8:]}")
    for signum in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _volunteer_for_oom()
    link, streams = _arrange_descriptors(*newborn.descriptors)
    set_environment(newborn.fork.env)
    _reseed()
    gc.enable()
    return link, streams


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


def _arrange_descriptors(link: int, stdout: int, stderr: int, crash: int) -> tuple[Link, Streams]:
    """Put the descriptors where they belong, and close all others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = min(_HIGH, soft // 2)
    link = fcntl.fcntl(link, fcntl.F_DUPFD_CLOEXEC, high)
    crash = fcntl.fcntl(crash, fcntl.F_DUPFD_CLOEXEC, high)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    _close_others(keep=(0, 1, 2, link, crash))
    crashes.dump_to(crash)
    return Link(socket.socket(fileno=link)), Streams(high)


def _close_others(keep: Collection[int]) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd in keep:
            continue
        try:
            os.close(fd)
        except OSError:
            pass  # the descriptor with which the folder was listed


def _reseed() -> None:
    """Give this container random numbers of its own; its siblings were forked from the same state."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
