"""What a call and a map cost as the work around them grows: `python -m benchmarks.scaling [axis ...]`.

Each point is a process of its own on a platform of its own. Beside each stands what it is of the first point's, both
beside the bare durable path that was measured with them, as machines are noisy. Where the machine is not the limit,
neither may become a fifth worse from the first to the last.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

from benchmarks import bare_path
from benchmarks.figures import now, open_console, this_machine
from benchmarks.stack import running_platform

AXES: Final[dict[str, tuple[int, ...]]] = {
    "functions": (1, 10, 100, 1_000),
    "containers": (1, 4, 16, 64),
    "queued": (1_000, 10_000, 100_000, 1_000_000),
    "clients": (1, 10, 50, 200),
}
"""What grows, and the sizes that are measured."""

TITLES: Final = {
    "functions": "functions deployed in one app, of which one is called",
    "containers": "containers of the function",
    "queued": "inputs of another function that are queued",
    "clients": "clients, which call in turn",
}
POINT_S: Final = 600.0
"""Seconds that one point may take."""


class Point(NamedTuple):
    """What was measured at one size."""

    size: int
    call_ms: float
    """One warm call after another, p50."""
    rate: float
    """No-ops a second: of a map, or of calls with many in flight where clients are counted."""
    platform_mb: float
    """Memory of all processes of the platform but containers, shared pages counted once."""
    bare_ms: float
    """The bare durable path on the same platform, p50 before the point is measured."""

    @property
    def calls(self) -> float:
        """How many times the bare path a call takes."""
        return self.call_ms / self.bare_ms

    @property
    def work(self) -> float:
        """How many no-ops pass in the time of the bare path."""
        return self.rate * self.bare_ms


def main() -> int:
    """Measure, print a table for each axis, store everything as JSON; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("axis", nargs="*", help=f"some of {', '.join(AXES)}; all by default")
    parser.add_argument("--most", type=int, default=10**9, help="leave out sizes above this")
    parser.add_argument("--output", type=Path, default=Path("build/scaling.json"), help="where the JSON goes")
    args = parser.parse_args()
    unknown = set(args.axis) - set(AXES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(AXES)}")
    least = min(AXES[axis][0] for axis in args.axis or AXES)
    if args.most < least:
        parser.error(f"expected --most to be at least {least:,}, the smallest size, got {args.most:,}")
    found: dict[str, list[Point]] = {}
    for axis in args.axis or AXES:
        sizes = [size for size in AXES[axis] if size <= args.most]
        if not sizes:
            continue
        found[axis] = []
        for size in sizes:
            print(f"measuring {axis} {size:,} ...", file=sys.stderr, flush=True)
            found[axis].append(measure(axis, size))
        open_console().print(table(axis, found[axis]))
        store(found, args.output)
    print(f"stored in {args.output}")
    return 0


def measure(axis: str, size: int) -> Point:
    """Measure one point. Raises CalledProcessError or TimeoutExpired when its process fails."""
    with running_platform() as record:
        bare_ms = bare_path.figure(record).value
        command = [sys.executable, "-m", "benchmarks.scaling_point", axis, str(size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=POINT_S)
    return Point(size, bare_ms=bare_ms, **json.loads(done.stdout))


def table(axis: str, points: list[Point]) -> Table:
    """Return the table of an axis."""
    made = Table(TITLES[axis], title=f"growth: {axis}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("call, p50", "of the first", "no-ops", "of the first", "platform", "bare path"):
        made.add_column(heading, justify="right")
    first = points[0]
    for each in points:
        made.add_row(
            f"{each.size:,}",
            f"{each.call_ms:.2f} ms",
            f"{each.calls / first.calls:.2f}",
            f"{each.rate:,.0f}/s",
            f"{each.work / first.work:.2f}",
            f"{each.platform_mb:.0f} MB",
            f"{each.bare_ms:.2f} ms",
        )
    return made


def store(found: dict[str, list[Point]], path: Path) -> None:
    """Write what was measured so far."""
    document: dict[str, Any] = {"measured_at": now(), "machine": this_machine()}
    document["axes"] = {axis: [each._asdict() for each in points] for axis, points in found.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
