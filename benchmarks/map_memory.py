"""Map no-ops over a lazy source, and print the largest resident size of this process in bytes."""

import resource
import sys

from benchmarks.workloads import app, spread


def main() -> None:
    """Run; the argument is the number of inputs."""
    inputs = int(sys.argv[1])
    with app.run():
        total = sum(spread.map(iter(range(inputs))))
    if total != inputs * (inputs - 1) // 2:
        raise AssertionError("the map gave other results than its inputs")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
