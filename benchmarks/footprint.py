"""Memory and processor time: of a platform with nothing to do, and of a client with a lot of it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.figures import Figure
from benchmarks.stack import processes

SETTLE_S = 5.0
WATCH_S = 20.0
MAP_INPUTS = 1_000_000


def idle(record: dict[str, Any]) -> Iterator[Figure]:
    """All processes of a platform that nobody has used yet."""
    time.sleep(SETTLE_S)  # what the start left to do is no part of idling
    found = processes(record)
    before, began = _cpu(found), time.monotonic()
    time.sleep(WATCH_S)
    cores = (_cpu(found) - before) / (time.monotonic() - began)
    memory = [process.memory_full_info() for process in found]
    pss = sum(each.pss for each in memory) / 1e6
    yield Figure(
        name="idle platform, memory",
        value=pss,
        unit="MB",
        least=200,
        aim=150,
        detail=f"{len(found)} processes, shared pages counted once; RSS {sum(m.rss for m in memory) / 1e6:.0f} MB",
    )
    yield Figure(
        name="idle platform, processor",
        value=cores * 100,
        unit="% of a core",
        aim=1.0,
        detail=f"over {WATCH_S:g} s",
    )


def _cpu(found: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in found)


def client_memory() -> Iterator[Figure]:
    """The largest resident size of a client during a long map, beside that of the same client after a short one."""
    short, long = _peak(1_000), _peak(MAP_INPUTS)
    yield Figure(
        name=f"client memory, map of {MAP_INPUTS:,}",
        value=long,
        unit="MB",
        aim=200,
        detail=f"largest resident size; {short:.0f} MB after a map of 1,000",
    )


def _peak(inputs: int) -> float:
    command = [sys.executable, "-m", "benchmarks.map_memory", str(inputs)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(said) / 1e6
