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
    _separate(newborn)
    for signum in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _volunteer_for_oom()
    link, streams = _arrange_descriptors(newborn)
    set_environment(newborn.fork.env)
    _reseed()
    gc.enable()
    return link, streams


def isolate_again(newborn: "Newborn", streams: Streams) -> Link:
    """Make this process, forked by a snapshot, a container of its own, and return its link to the worker.

    What user code has made before the snapshot stays: its files, its streams, its state, but for random numbers.
    """
    _separate(newborn)
    high = _high()
    link, stdout, stderr, crash = newborn.descriptors
    ours = _raise(link, high)
    crashes.dump_to(_raise(crash, high))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    streams.keep(high)
    for fd in (null, *newborn.descriptors):
        os.close(fd)
    set_environment(newborn.fork.env)
    _reseed()
    return Link(socket.socket(fileno=ours))


def raise_descriptor(fd: int) -> int:
    """Give a descriptor of ours a number that user code does not meet, and return that."""
    raised = _raise(fd, _high())
    os.close(fd)
    return raised


def _separate(newborn: "Newborn") -> None:
    """Be a session of its own that ends with its parent, and owns what it starts."""
    os.setsid()
    processes.die_with(newborn.parent)
    processes.become_subreaper()
    processes.set_name(f"afield {newborn.fork.container_id[-8:]}")


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


def _arrange_descriptors(newborn: "Newborn") -> tuple[Link, Streams]:
    """Put the descriptors where they belong, and close all others."""
    high = _high()
    link, stdout, stderr, crash = newborn.descriptors
    link, crash = _raise(link, high), _raise(crash, high)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    _close_others(keep=(0, 1, 2, link, crash, newborn.control))
    crashes.dump_to(crash)
    return Link(socket.socket(fileno=link)), Streams(high)


def _high() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_HIGH, soft // 2)


def _raise(fd: int, high: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high)


def _close_others(keep: Collection[int]) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd in keep:
            continue
        try:
            os.close(fd)
        except OSError:
            pass  # the descriptor with which the folder was listed


def _reseed() -> None:
    """Give this container random numbers of its own; its siblings were forked from the same state.

    A module may be there in name only: one that is being imported, or failed to be.
    """
    random.seed()
    numpy = getattr(sys.modules.get("numpy"), "random", None)
    if numpy is not None:
        numpy.seed()
    torch = getattr(sys.modules.get("torch"), "random", None)
    if torch is not None:
        torch.seed()
