"""How much memory a container takes, and whether the kernel kills for lack of it."""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from afield._guest.processes import descendants

_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024


class Limit(NamedTuple):
    """The most memory that a container may take."""

    container_id: str
    pid: int
    kib: int


class Excess(NamedTuple):
    """A container that took more."""

    limit: Limit
    used_kib: int


def find_excess(limits: Sequence[Limit]) -> list[Excess]:
    """Return the containers that hold more than they may, all their processes counted.

    Resident sizes are quick to read, and count a page that processes share (as forks do) once for each. So they acquit
    at once, and where they do not, proportional sizes decide.
    """
    found: list[Excess] = []
    for limit in limits:
        tree = descendants([limit.pid])
        if sum(map(_resident_kib, tree)) <= limit.kib:
            continue
        used = sum(map(_proportional_kib, tree))
        if used > limit.kib:
            found.append(Excess(limit, used))
    return found


def peak_kib(pid: int) -> int:
    """Return the most memory that a live process has held, in KiB; 0 if it is gone."""
    return _field(f"/proc/{pid}/status", b"VmHWM:")


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since the host started."""
    return _field("/proc/vmstat", b"oom_kill ")


def _resident_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_KIB
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
        return 0


def _proportional_kib(pid: int) -> int:
    return _field(f"/proc/{pid}/smaps_rollup", b"Pss:")


def _field(path: str, name: bytes) -> int:
    """Return the number behind `name` at the start of a line; 0 if there is none, or the process is gone."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(name):
                    return int(line[len(name) :].split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
