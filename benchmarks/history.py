"""What `make bench` found on this machine before, and what has moved since.

Machines are noisy, so a figure is compared beside the bare durable path that was measured in the same run: a call that
takes 1.5 times as long as that took 1.5 times as long on a slower day, too. The bare path is noisy itself: what has moved beside
it but not by itself has moved perhaps.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.figures import Figure, number, this_machine

MOVED: Final = 1.15
"""A figure that is so many times what it was, or less than its inverse, has moved."""


class Past(NamedTuple):
    """A figure of an earlier run."""

    value: float
    unit: str
    bare_ms: float
    """The bare path in that run."""
    measured_at: str


def read(path: Path) -> dict[str, Past]:
    """Return the latest figures that were stored on this machine, by name; none from another one."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["machine"] != this_machine():
        return {}
    return {name: Past(**past) for name, past in document["figures"].items()}


def write(path: Path, past: Mapping[str, Past], figures: Iterable[Figure], bare_ms: float, at: str) -> None:
    """Store the figures of a run; what was not measured this time is kept as it is."""
    latest = {**past, **{each.name: Past(each.value, each.unit, bare_ms, at) for each in figures}}
    document: dict[str, Any] = {
        "machine": this_machine(),
        "figures": {name: each._asdict() for name, each in latest.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def moved(past: Mapping[str, Past], figures: Iterable[Figure], bare_ms: float) -> list[str]:
    """Return a line for each figure that has moved."""
    lines = []
    for each in figures:
        before = past.get(each.name)
        if before is None or before.unit != each.unit:
            continue
        was, now = _beside(before.value, before.unit, before.bare_ms), _beside(each.value, each.unit, bare_ms)
        if was <= 0 or now <= 0 or not _has_moved(beside := now / was):
            continue
        word = "better" if (beside < 1) == (each.better == "lower") else "WORSE"
        by_itself = each.value / before.value
        if not _has_moved(by_itself) or (by_itself < 1) != (beside < 1):
            word = f"perhaps {word.lower()}"  # it may be the bare path alone that was quicker or slower this time
        lines.append(
            f"{word}: {each.name}: {number(before.value)} {each.unit} beside {number(before.bare_ms)} ms of the bare path "
            f"({before.measured_at}), now {number(each.value)} {each.unit} beside {number(bare_ms)} ms: {beside:.2f} times, "
            f"by itself {by_itself:.2f}"
        )
    return lines


def _has_moved(ratio: float) -> bool:
    return not 1 / MOVED <= ratio <= MOVED


def _beside(value: float, unit: str, bare_ms: float) -> float:
    """Return a figure as a multiple of the bare path, where it is a time or a rate; sizes and shares as they are."""
    if unit in ("ms", "s"):
        return value / bare_ms
    return value * bare_ms if unit.endswith("/s") else value
