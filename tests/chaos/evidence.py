"""What a round leaves behind, as data. Times are seconds of the host's monotonic clock, the same in all processes. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from chaos.plan import Strike
from chaos.recipes import Recipe


class Execution(NamedTuple):
    """The user's code began to run for an input: a side effect that cannot be taken back."""

    number: int
    pid: int
    worker: str
    at: float


class Yielded(NamedTuple):
    """The caller got a result. `outcome` is the value as text, or `!` and the error."""

    position: int
    outcome: str
    at: float


class Stored(NamedTuple):
    """A result of an input was stored (and republished)."""

    number: int
    subject: str
    at: float


class Applied(NamedTuple):
    """A strike as it was carried out: on the processes `pids`, from `began` to `ended`."""

    strike: Strike
    pids: frozenset[int]
    began: float
    ended: float


class Evidence(NamedTuple):
    """All of one round."""

    recipes: list[Recipe]
    executions: list[Execution]
    yielded: list[Yielded]
    stored: list[Stored]
    applied: list[Applied]


def arrivals(evidence: Evidence) -> list[float]:
    """Return when results arrived at somebody, in order.

    Not in the order of the inputs: one that waits for its retry holds up nobody but those behind it in the caller's loop.
    """
    return sorted({s.at for s in evidence.stored} | {y.at for y in evidence.yielded})


def parse_executions(lines: Iterable[str]) -> list[Execution]:
    """Read the side-effect log: `number pid worker time` a line. Raises ValueError for a torn one."""
    found = []
    for line in lines:
        number, pid, worker, at = line.split()
        found.append(Execution(int(number), int(pid), worker, float(at)))
    return sorted(found, key=lambda each: each.at)


def parse_yielded(lines: Iterable[str]) -> list[Yielded]:
    """Read what the caller wrote down: position, time and outcome, apart by tabs."""
    found = []
    for line in lines:
        position, at, outcome = line.rstrip("\n").split("\t")
        found.append(Yielded(int(position), outcome, float(at)))
    return found
