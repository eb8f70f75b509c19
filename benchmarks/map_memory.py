"""Map no-ops over a lazy source, and print the largest resident size of this process in bytes."""

import re
import sys
from pathlib import Path

from benchmarks.workloads import app, spread


def largest_resident_size() -> int:
    """Return the most bytes of memory that this process has had."""
    # Not ru_maxrss: that is handed down by the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def main() -> None:
    """Run; the argument is the number of inputs."""
    inputs = int(sys.argv[1])
    with app.run():
        total = sum(spread.map(iter(range(inputs))))
    if total != inputs * (inputs - 1) // 2:
        raise AssertionError("the map gave other results than its inputs")
    print(largest_resident_size())


if __name__ == "__main__":
    main()
