"""What the streams of one nats-server can take, and what more streams and servers give: `python -m benchmarks.streams [axis ...]`.

Everything on this host, loads included, so rates are bounded by its cores; the server's processor time for each message
says what a core of it can do where the loads run elsewhere. The figures of docs/scaling.md are made with this.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

from benchmarks import stream_points
from benchmarks.figures import now, number, open_console, this_machine
from benchmarks.stream_points import Row

MESSAGES: Final = {"10s": 100_000, "always": 10_000}
"""Messages of one run, by how often the disk is flushed."""


class Point(NamedTuple):
    """One line of an axis: its label, and what measures it."""

    label: str
    measure: Callable[[], Row]


class Axis(NamedTuple):
    """What is compared."""

    title: str
    columns: dict[str, str]
    """Name of a figure to its heading."""
    points: tuple[Point, ...]


def _shards(sync: str) -> tuple[Point, ...]:
    return tuple(
        Point(
            f"{streams} streams, {publishers} publishing",
            partial(stream_points.shards, streams, publishers, sync, MESSAGES[sync]),
        )
        for publishers in (1, 8)
        for streams in (1, 2, 4, 8)
    )


def _replicas(servers: int, copies: int, sync: str, *, leaf: bool = False) -> Point:
    where = "one server" if servers == 1 else f"{servers} servers"
    via = ", through a leaf node" if leaf else ""
    measure = partial(stream_points.replicas, servers, copies, sync, MESSAGES[sync], leaf=leaf)
    return Point(f"{where}, R{copies}, sync {sync}{via}", measure)


_RATES: Final = {
    "published": "published /s",
    "published_us": "server, µs each",
    "delivered": "delivered /s",
    "delivered_us": "server, µs each",
}

AXES: Final[dict[str, Axis]] = {
    "shards": Axis("input streams, flushed every 10 s", _RATES, _shards("10s")),
    "flushed": Axis(
        "input streams, each message flushed", {"flush_ms": "a flush, ms", **_RATES}, _shards("always")
    ),
    "consumers": Axis(
        "functions (two consumers each), on one input stream unless it says otherwise",
        {
            "consumers": "consumers",
            "all_s": "create all, s",
            "one_ms": "create one more, ms",
            "list_ms": "list, ms",
            "memory_mb": "memory, MB",
            "restart_s": "restart, s",
            "after_mb": "whole server after it, MB",
            "stop_s": "orderly stop, s",
        },
        (
            *(Point(f"{n:,}", partial(stream_points.consumers, n)) for n in (100, 1_000, 5_000)),
            Point("5,000 on four streams", partial(stream_points.consumers, 5_000, 4)),
        ),
    ),
    "results": Axis(
        "results kept, each under a subject of its own",
        {
            "stored": "stored /s",
            "memory_mb": "memory, MB",
            "disk_mb": "disk, MB",
            "restart_s": "restart, s",
            "after_mb": "whole server after it, MB",
            "get_ms": "read one, ms",
        },
        tuple(Point(f"{n:,}", partial(stream_points.results, n)) for n in (100_000, 1_000_000)),
    ),
    "replicas": Axis(
        "servers and copies",
        {
            "flush_ms": "a flush, ms",
            "call_ms": "there and back, p50 ms",
            "call_p99_ms": "p99 ms",
            "published": "published /s",
            "published_us": "servers, µs each",
        },
        (
            _replicas(1, 1, "10s"),
            _replicas(1, 1, "10s", leaf=True),
            _replicas(1, 1, "always"),
            _replicas(3, 1, "10s"),
            _replicas(3, 3, "10s"),
            _replicas(3, 3, "always"),
        ),
    ),
}


def main() -> int:
    """Measure, print a table for each axis, store everything as JSON; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("axis", nargs="*", help=f"some of {', '.join(AXES)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("build/streams.json"), help="where the JSON goes")
    args = parser.parse_args()
    unknown = set(args.axis) - set(AXES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(AXES)}")
    found: dict[str, dict[str, Row]] = {}
    for name in args.axis or AXES:
        rows = found[name] = {}
        for point in AXES[name].points:
            print(f"measuring {name}: {point.label} ...", file=sys.stderr, flush=True)
            rows[point.label] = point.measure()
        open_console().print(table(AXES[name], rows))
        store(found, args.output)
    print(f"stored in {args.output}")
    return 0


def table(axis: Axis, rows: dict[str, Row]) -> Table:
    """Return the table of an axis."""
    made = Table("", title=axis.title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in axis.columns.values():
        made.add_column(heading, justify="right")
    for label, row in rows.items():
        made.add_row(label, *(number(row.get(column)) for column in axis.columns))
    return made


def store(found: dict[str, dict[str, Row]], path: Path) -> None:
    """Write what was measured so far."""
    document: dict[str, Any] = {"measured_at": now(), "machine": this_machine(), "axes": found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
