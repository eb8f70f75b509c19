"""What is measured: the works, the figures that each gives, and how large they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Better = Literal["lower", "higher"]
Launch = Literal["calls", "slots", "idle"]

SLOTS: Final = 8
"""How many inputs may run at once in the map of naps."""

LAUNCHES: Final[tuple[Launch, ...]] = ("calls", "slots", "idle")
"""The starts of a peer in one round, in order: for calls, with SLOTS slots, and one that nobody calls."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table: `key` is what a program's answer calls it."""

    key: str
    title: str
    unit: str
    better: Better = "lower"


@dataclass(frozen=True, kw_only=True)
class Work:
    """One thing that every peer is asked to do.

    `full` and `quick` are the sizes that a program is told, by default and with --quick. After `deadline_s` seconds, the
    start of the system included, it counts as failed.
    """

    name: str
    figures: tuple[Figure, ...]
    launch: Launch = "calls"
    deadline_s: float = 120.0
    full: Mapping[str, float] = field(default_factory=dict)
    quick: Mapping[str, float] = field(default_factory=dict)


def _large(megabytes: int) -> Work:
    return Work(
        name=f"bytes-{megabytes}",
        figures=(Figure(key="ms", title=f"{megabytes} MB there and back", unit="ms"),),
        full={"megabytes": megabytes, "times": 5},
        quick={"megabytes": megabytes, "times": 1},
    )


WORKS: Final = (
    Work(name="nothing", figures=(Figure(key="s", title="from nothing to the first result", unit="s"),)),
    Work(
        name="warm",
        figures=(
            Figure(key="p50", title="one warm call, blocking, p50", unit="ms"),
            Figure(key="p99", title="one warm call, blocking, p99", unit="ms"),
        ),
        full={"calls": 500},
        quick={"calls": 100},
    ),
    Work(
        name="map",
        figures=(Figure(key="rate", title="map of 10,000 no-ops", unit="inputs/s", better="higher"),),
        deadline_s=180.0,
        full={"inputs": 10_000},
        quick={"inputs": 1_000},
    ),
    Work(
        name="batches",
        figures=(Figure(key="rate", title="the same, in batches by hand", unit="inputs/s", better="higher"),),
        deadline_s=180.0,
        full={"inputs": 10_000, "size": 100},
        quick={"inputs": 1_000, "size": 100},
    ),
    Work(
        name="flights",
        figures=(Figure(key="rate", title="1,000 async calls in flight", unit="calls/s", better="higher"),),
        full={"calls": 1_000, "times": 5},
        quick={"calls": 1_000, "times": 1},
    ),
    Work(
        name="nested",
        figures=(Figure(key="ms", title="a call that makes 100 calls", unit="ms"),),
        full={"calls": 100, "times": 5},
        quick={"calls": 100, "times": 1},
    ),
    _large(1),
    _large(10),
    _large(100),
    Work(
        name="cold",
        figures=(Figure(key="ms", title="cold call: no process yet", unit="ms"),),
        full={"times": 5},
        quick={"times": 2},
    ),
    Work(
        name="naps",
        launch="slots",
        figures=(
            Figure(
                key="efficiency",
                title=f"map of 1,000 x 10 ms on {SLOTS} slots, of the ideal",
                unit="%",
                better="higher",
            ),
        ),
        full={"inputs": 1_000, "seconds": 0.01, "slots": SLOTS},
        quick={"inputs": 400, "seconds": 0.01, "slots": SLOTS},
    ),
    Work(
        name="idle",
        launch="idle",
        figures=(
            Figure(key="memory", title="idle: memory", unit="MB"),
            Figure(key="processor", title="idle: processor", unit="% of a core"),
        ),
        full={"settle": 5.0, "watch": 10.0},
        quick={"settle": 2.0, "watch": 3.0},
    ),
)


def chosen_works(names: list[str]) -> tuple[Work, ...]:
    """Return the works with these names, in their own order; all for none. Raises ValueError for an unknown name."""
    known = [work.name for work in WORKS]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"there is no work {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(work for work in WORKS if not names or work.name in names)
