"""Measure: `python -m benchmarks [--strict] [what ...]`."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import calls, commands, footprint, payloads
from benchmarks.figures import Figure, show, store
from benchmarks.stack import running_platform

ON_PLATFORM: dict[str, Callable[[dict[str, Any]], Iterator[Figure]]] = {
    "idle": footprint.idle,  # first: nobody has used the platform yet
    "warm": lambda _: calls.warm(),
    "map": lambda _: calls.maps(),
    "cold": lambda _: calls.colds(),
    "large": lambda _: payloads.large(),
    "memory": lambda _: footprint.client_memory(),
}
BY_ITSELF: dict[str, Callable[[], Iterator[Figure]]] = {"hello": commands.hello, "lines": commands.lines}


def main() -> int:
    """Run the chosen benchmarks; return 1 with --strict when a figure misses what it must reach."""
    names = [*ON_PLATFORM, *BY_ITSELF]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="what", help=f"some of {', '.join(names)}; all by default")
    parser.add_argument("--strict", action="store_true", help="fail when a figure misses what it must reach")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where the JSON goes")
    args = parser.parse_args()
    unknown = set(args.what) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    began = time.monotonic()
    figures = _measure(set(args.what) or set(names))
    show(figures)
    store(figures, args.output, took=time.monotonic() - began)
    print(f"stored in {args.output}")
    return 1 if args.strict and any(each.verdict == "MISSED" for each in figures) else 0


def _measure(chosen: set[str]) -> list[Figure]:
    figures: list[Figure] = []
    on_platform = [name for name in ON_PLATFORM if name in chosen]
    if on_platform:
        with running_platform() as record:
            for name in on_platform:
                _say(name)
                figures += ON_PLATFORM[name](record)
    for name, measure in BY_ITSELF.items():
        if name in chosen:
            _say(name)
            figures += measure()
    return figures


def _say(name: str) -> None:
    print(f"measuring {name} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
