"""Processor time of processes, as the scheduler of the kernel counts it: to the nanosecond, whatever they run.

It comes from /proc/PID/task/TID/schedstat, thread by thread. A thread that ends between two readings takes with it what
it ran since the first.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

Threads = Mapping[int, int]
"""Thread id to the nanoseconds that it has run."""

PROC: Final = Path("/proc")


def parse_schedstat(text: str) -> int:
    """Return the nanoseconds on a processor: the first of the three numbers in a schedstat file.

    Raises ValueError for what is no such file.
    """
    numbers = text.split()
    if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        raise ValueError(f"expected three numbers in a schedstat file, got {text!r}")
    return int(numbers[0])


def threads(pid: int, proc: Path = PROC) -> dict[int, int]:
    """Return what each thread of a process has run; nothing for a process that has ended.

    Raises RuntimeError where the kernel does not keep account (CONFIG_SCHED_INFO).
    """
    found = {}
    for task in _tasks(proc / str(pid)):
        try:
            found[int(task.name)] = parse_schedstat((task / "schedstat").read_text())
        except ProcessLookupError:  # it ended just now
            continue
        except FileNotFoundError:
            if task.exists():
                raise RuntimeError(
                    f"{task}/schedstat is missing: this kernel does not count what threads run "
                    f"(it was built without CONFIG_SCHED_INFO)"
                ) from None
    return found


def _tasks(process: Path) -> list[Path]:
    try:
        return list((process / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def snapshot(
    pids: Iterable[int], read: Callable[[int], dict[int, int]] = threads
) -> dict[int, dict[int, int]]:
    """Return what the threads of each process have run."""
    return {pid: read(pid) for pid in pids}


def spent(before: Mapping[int, Threads], after: Mapping[int, Threads]) -> dict[int, int]:
    """Return the nanoseconds that each process of `after` ran in between; threads that began in between count whole."""
    return {
        pid: sum(ran - before.get(pid, {}).get(thread, 0) for thread, ran in now.items())
        for pid, now in after.items()
    }
