"""Measure: `python -m benchmarks [--strict] [what ...]`."""

import argparse
import compileall
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare_path, calls, commands, footprint, history, payloads
from benchmarks.figures import Figure, now, show, store
from benchmarks.stack import running_platform

ROOT = Path(__file__).parent.parent
ON_PLATFORM: dict[str, Callable[[dict[str, Any]], Iterator[Figure]]] = {
    "idle": footprint.idle,
    "warm": lambda _: calls.warm(),
    "map": lambda _: calls.maps(),
    "cold": lambda _: calls.colds(),
    "large": lambda _: payloads.large(),
    "memory": lambda _: footprint.client_memory(),
}
OURS = (ROOT / "client", ROOT / "services")
BY_ITSELF: dict[str, Callable[[], Iterator[Figure]]] = {"hello": commands.hello, "lines": commands.lines}


def main() -> int:
    """Run the chosen benchmarks; return 1 with --strict when a figure misses what it must reach."""
    names = [*ON_PLATFORM, *BY_ITSELF]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="what", help=f"some of {', '.join(names)}; all by default")
    parser.add_argument("--strict", action="store_true", help="fail when a figure misses what it must reach")
    parser.add_argument(
        "--output",
        type=Path,
        help="where the JSON goes: build/bench.json by default, build/bench-part.json when only a part is measured",
    )
    parser.add_argument(
        "--history", type=Path, default=Path("build/bench-history.json"), help="the figures to compare with"
    )
    args = parser.parse_args()
    unknown = set(args.what) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for folder in OURS:  # as it is in what a user installs
        compileall.compile_dir(folder, quiet=1)
    began = time.monotonic()
    bare, *figures = _measure(set(args.what) or set(names))
    show([bare, *figures])
    output = args.output or Path("build/bench-part.json" if args.what else "build/bench.json")
    store([bare, *figures], output, took=time.monotonic() - began)
    print(f"stored in {output}")
    _compare(args.history, figures, bare.value)
    return 1 if args.strict and any(each.verdict == "MISSED" for each in figures) else 0


def _compare(path: Path, figures: list[Figure], bare_ms: float) -> None:
    """Say what has moved since the last run on this machine, and keep this one."""
    past = history.read(path)
    if not past:
        print("there are no earlier figures of this machine to compare with")
    else:
        lines = history.moved(past, figures, bare_ms)
        percent = (history.MOVED - 1) * 100
        print("\n".join(lines) or f"nothing has moved by more than {percent:.0f} % since the last run")
    history.write(path, past, figures, bare_ms, now())


def _measure(chosen: set[str]) -> list[Figure]:
    """Return the bare path, with which all else is compared, and what was chosen."""
    with running_platform() as record:
        # Before anybody uses the platform.
        figures = list(ON_PLATFORM["idle"](record)) if "idle" in chosen else []
        _say("the bare path")
        figures.insert(0, bare_path.figure(record))
        for name in [name for name in ON_PLATFORM if name in chosen and name != "idle"]:
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
