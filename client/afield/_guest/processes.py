"""What Linux knows of processes: parents, children, and who is told when a parent dies."""

import ctypes
import os
import signal
from collections.abc import Iterable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int | bytes) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with(parent: int, signum: int = signal.SIGKILL) -> None:
    """Have this process sent a signal when its parent ends; at once, if `parent` is not its parent any more."""
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def become_subreaper() -> None:
    """Adopt what descends from this process and loses its parent, daemons with sessions of their own included."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Set the name that `ps -o comm` shows; Linux keeps 15 bytes of it."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies included; none for a process that is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except ProcessLookupError:
            continue  # ended while it was read
        except FileNotFoundError:  # ended before; its process need not have
            if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
                return [child for child, parent in _parents() if parent == pid]
    return found


def descendants(roots: Iterable[int]) -> list[int]:
    """Return these processes and all that descend from them, parents first."""
    found: dict[int, None] = {}
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found[pid] = None
            todo += children(pid)
    return list(found)


def signal_all(pids: Iterable[int], signum: int) -> None:
    """Send a signal to each of these processes that is still there."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass  # ended by itself


def _parents() -> list[tuple[int, int]]:
    """For kernels without CONFIG_PROC_CHILDREN: every process with its parent."""
    pairs: list[tuple[int, int]] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # gone meanwhile
            continue
        pairs.append((int(name), int(fields[1])))
    return pairs
