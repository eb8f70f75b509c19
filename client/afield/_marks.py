"""The processes of a platform, found by the mark in their environment or by their descent.

Every process that a platform starts inherits `AFIELD_PLATFORM=<id>`. The mark survives what a process group or a
session does not: double forks, setsid, the death of every parent. Linux only, as is all of the platform.
"""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from select import POLLIN, poll
from typing import Final

MARK: Final = "AFIELD_PLATFORM"


def marked(platform_id: str) -> set[int]:
    """Return the live processes of this user that carry the mark of `platform_id` (zombies excluded)."""
    wanted = f"{MARK}={platform_id}".encode()
    return {pid for pid in _pids() if wanted in _environ(pid)}


def descendants(*roots: int) -> set[int]:
    """Return the live descendants of these processes, by their parents as they are now; the roots are left out."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        below = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(below)
        todo += below
    return found


def kill_all(find: Callable[[], Collection[int]], *, within: float = 5.0) -> list[int]:
    """Kill what `find` names, again and again until it names nobody; return the processes killed.

    A process can fork while it is being looked for, hence the repetition. Raises TimeoutError, naming the
    survivors, when some are left after `within` seconds.
    """
    end = time.monotonic() + within
    killed: dict[int, None] = {}
    while pids := find():
        if time.monotonic() > end:
            raise TimeoutError(f"processes {sorted(pids)} did not end {within:g} s after SIGKILL")
        for pid in pids:
            if kill(pid, signal.SIGKILL):
                killed[pid] = None
        for pid in pids:
            wait_exit(pid, timeout=max(0.0, end - time.monotonic()))
    return list(killed)


def kill(pid: int, signum: int) -> bool:
    """Send a signal; tell whether there was a process to send it to."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def wait_exit(pid: int, timeout: float) -> bool:
    """Wait until a process (not necessarily a child) has ended; tell whether it has."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        waiter = poll()
        waiter.register(fd, POLLIN)
        return bool(waiter.poll(timeout * 1000))
    finally:
        os.close(fd)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _environ(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")  # empty for a zombie
    except OSError:  # gone meanwhile, or another user's
        return []


def _parent(pid: int) -> int:
    """Return the parent's id, or 0 for a process that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may hold any character: read from the last one.
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == b"Z" else int(parent)
