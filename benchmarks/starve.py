"""How long a call of an idle function takes while a burst of another is queued: `python -m benchmarks.starve [inputs]`.

Each of the calls is of a function that has no container. Beside it: the same calls with nothing queued, and how long it
takes to stop the app with what is left of the burst.
"""

import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.figures import percentile
from benchmarks.stack import running_platform
from benchmarks.workloads import app, cold, nap

INPUTS = 100_000
SECONDS = 0.2
"""That each input of the burst takes."""

CALLS = 10


def main() -> int:
    """Measure, and print a line for each figure; return the exit status."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else INPUTS
    with running_platform():
        with app.run():
            quiet = colds(cold[:CALLS])
            began = time.monotonic()
            first = nap.spawn(SECONDS)
            nap.spawn_map([SECONDS] * (inputs - 1))
            say("seconds to queue the burst", [time.monotonic() - began])
            first.get()
            busy = colds(cold[CALLS : 2 * CALLS])
            stopped = time.monotonic()
        say("seconds to stop the app with the rest", [time.monotonic() - stopped])
    say("ms for a first call, nothing queued", quiet)
    say(f"ms for a first call, {inputs:,} inputs of another function queued", busy)
    return 0


def colds(functions: Sequence[Callable[..., object]]) -> list[float]:
    """Return the milliseconds that a call of each function takes."""
    found = []
    for function in functions:
        began = time.monotonic()
        function.remote()  # type: ignore[attr-defined]
        found.append(1000 * (time.monotonic() - began))
    return found


def say(what: str, values: list[float]) -> None:
    """Print one figure."""
    spread = f"  (worst {max(values):.1f})" if len(values) > 1 else ""
    print(f"{what}: {percentile(values, 50):.1f}{spread}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
