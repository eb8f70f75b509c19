"""How much memory processes take, and whether the kernel kills for lack of it."""

import os
from typing import Final

from afield._guest.processes import descendants

_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024


def tree_kib(pid: int, *, suspicious_kib: int) -> int:
    """Return the memory of a process and all that descend from it, in KiB.

    Resident sizes are quick to read, and count a page that processes share (as forks do) once for each. So they stand
    when they are below `suspicious_kib`; else proportional sizes are read, which are exact.
    """
    tree = descendants([pid])
    resident = sum(map(_resident_kib, tree))
    return resident if resident <= suspicious_kib else sum(map(_proportional_kib, tree))


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
