"""Holds a container to its share of processors by pausing it, where no control group can."""

import os
from typing import Final

from afield._guest.processes import descendants

SAVED_S: Final = 0.1
"""Seconds of rest that a container may make up for."""

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


class Throttle:
    """When to pause a container, so that it uses `cores` on average. Pure: time and use are passed in."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.paused = False
        self._seen: tuple[float, float] | None = None
        self._credit = 0.0
        """Seconds of processor time that it may use; below zero it has had too much."""

    def update(self, now: float, used_s: float) -> bool:
        """Take in how much it has used so far, and return whether it should be paused until the next look."""
        if self._seen is not None:
            then, used_then = self._seen
            earned = (now - then) * self.cores
            # A limit that can be saved up is none; a little must be, as looks are far apart.
            self._credit = min(SAVED_S * self.cores, self._credit + earned - (used_s - used_then))
        self._seen = now, used_s
        self.paused = self._credit < 0
        return self.paused


def tree_cpu_s(pid: int) -> float:
    """Return the processor time of a process, of all that descend from it, and of those that they waited for."""
    return sum(map(_cpu_s, descendants([pid])))


def _cpu_s(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may hold any character: read from the last one.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
        return 0.0
    return sum(map(int, fields[11:15])) * _TICK_S
