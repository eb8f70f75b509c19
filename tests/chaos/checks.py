"""What must hold after a round: every input has one result, the right one, and ran no oftener than the rules allow. Pure."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Final, NamedTuple

from chaos.evidence import Applied, Evidence, Execution, Stored, arrivals
from chaos.recipes import executions, expected

LAG: Final = 3.0
"""Seconds by which things may be apart: an input that was on its way to its container when the fault came, a result that
was stored just before it while the acknowledgement of the input was still on its way."""

AWAY: Final = 10.0
"""Seconds that a nats-server may be away after it was killed: its supervisor starts it later and later; of three, the other
two elect leaders within 9. What was delivered shortly before runs meanwhile, and may be delivered again afterwards."""

TAIL: Final = 20.0
"""Seconds after the end of a fault in which its stall may lie."""


class Findings(NamedTuple):
    """What is wrong, and how long the caller waited at most."""

    lost: tuple[int, ...]
    """Inputs without a result."""
    duplicated: tuple[int, ...]
    """Inputs with two results, at the caller or in the stream."""
    wrong: tuple[str, ...]
    """Results that are not what they should be, or not in their place."""
    excess: tuple[str, ...]
    """Inputs that ran more often than their attempts and the faults explain, or too rarely."""
    stall: float
    """Longest time without a result around a fault, in seconds."""
    repeats: int
    """Executions beyond the attempts, all of them explained."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.wrong or self.excess)


def examine(evidence: Evidence) -> Findings:
    """Check everything."""
    seen = Counter(each.position for each in evidence.yielded)
    stored = Counter(each.number for each in _while_awaited(evidence))
    twice = {i for counts in (seen, stored) for i, n in counts.items() if n > 1}
    excess, repeats = _attempts(evidence)
    return Findings(
        lost=tuple(r.number for r in evidence.recipes if r.number not in seen),
        duplicated=tuple(sorted(twice)),
        wrong=_wrong(evidence),
        excess=excess,
        stall=longest_stall(evidence),
        repeats=repeats,
    )


def _while_awaited(evidence: Evidence) -> list[Stored]:
    """The results that were stored before the caller had them all. Then they are removed, and refuse no others any more."""
    if len(evidence.yielded) < len(evidence.recipes):
        return evidence.stored
    end = evidence.yielded[-1].at
    return [each for each in evidence.stored if each.at <= end]


def _wrong(evidence: Evidence) -> tuple[str, ...]:
    found = []
    for number, each in enumerate(evidence.yielded):
        if each.position != number:
            found.append(f"result {number} came as number {each.position}")
        elif each.position >= len(evidence.recipes):
            found.append(f"result {each.position} of {len(evidence.recipes)} inputs")
        elif each.outcome != (wanted := expected(evidence.recipes[each.position])):
            found.append(f"input {each.position}: expected {wanted}, got {each.outcome}")
    return tuple(found)


def _attempts(evidence: Evidence) -> tuple[tuple[str, ...], int]:
    """Return what ran too often or too rarely, and how many executions only the faults explain."""
    runs: defaultdict[int, list[Execution]] = defaultdict(list)
    for each in evidence.executions:
        runs[each.number].append(each)
    stored_at = {each.number: each.at for each in reversed(evidence.stored)}
    found, repeats = [], 0
    for recipe in evidence.recipes:
        mine = runs[recipe.number]
        extra = len(mine) - executions(recipe)
        if extra < 0 and recipe.number in stored_at:
            found.append(f"input {recipe.number} ({recipe.kind}) ran {len(mine)} times, {-extra} too few")
        if extra <= 0:
            continue
        repeats += extra
        explained = _explained(mine, stored_at.get(recipe.number), evidence.applied)
        if explained < extra:
            found.append(
                f"input {recipe.number} ({recipe.kind}) ran {len(mine)} times, {extra} too many, "
                f"{explained} of them explained by a fault"
            )
    return tuple(found), repeats


def _explained(runs: list[Execution], stored_at: float | None, applied: list[Applied]) -> int:
    return sum(
        any(_explains(fault, before, after, stored_at) for fault in applied)
        for before, after in pairwise(runs)
    )


def _explains(fault: Applied, before: Execution, after: Execution, stored_at: float | None) -> bool:
    """Whether a fault can be the reason for a second execution: it came between them, and before the result was safe."""
    away = AWAY if fault.strike.target in ("nats-server", "meta-leader") else 0.0
    over = fault.ended + away + LAG
    if not (before.at <= over and fault.began <= after.at):
        return False
    if fault.strike.target == "clock":
        return False  # what the time is decides nothing of that kind
    if fault.strike.target == "container" and fault.strike.action == "kill" and before.pid not in fault.pids:
        return False
    return stored_at is None or stored_at >= fault.began - LAG


def longest_stall(evidence: Evidence) -> float:
    """Return the longest time without any new result that overlaps a fault or its aftermath; 0 without faults."""
    times = arrivals(evidence)
    longest = 0.0
    for before, after in pairwise(times):
        for fault in evidence.applied:
            if before <= fault.ended + TAIL and after >= fault.began:
                longest = max(longest, after - max(before, fault.began))
    return longest
