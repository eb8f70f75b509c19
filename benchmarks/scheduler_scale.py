"""What the scheduler's decisions cost as the fleet grows: `python -m benchmarks.scheduler_scale [--workers N ...]`.

No bus: the pure core alone, fed as the service feeds it. Each size is measured in a process of its own.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

from rich import box
from rich.table import Table

from benchmarks.figures import Figure, open_console, percentile, show, store
from benchmarks.fleet_driver import Driver, Measured
from benchmarks.fleet_model import Size

SIZES: Final = (10, 100, 1_000)
"""Workers; ten functions and a hundred containers for each."""

DECISION_MS: Final = 1.0
SWEEP_MS: Final = 1_000.0
REPORT_US: Final = 1_000.0
"""With a thousand reports a second the scheduler's one core must do."""


class Results(NamedTuple):
    """What was measured at one size."""

    size: Size
    memory: int
    """Bytes resident for all that the scheduler knows."""
    steps: list[Measured]
    sweeps: list[Measured]


def measure(workers: int) -> Results:
    """Measure one size."""
    size = Size(workers, 10 * workers, 100 * workers)
    before = resident()
    room = Driver(size, "room")
    gc.collect()
    memory = resident() - before
    steps = [
        Measured("this machine: a million turns of an empty loop", [_timed(_turns) for _ in range(10)]),
        Measured("collector: one look at everything", [_timed(gc.collect) for _ in range(5)]),
    ]
    steps += room.reports()
    steps.append(room.decisions("decision: nothing to do", room.known()[::2], 0))
    steps.append(room.decisions("decision: there is room", room.known()[1::2], 1))
    sweeps = [room.sweep("sweep: one in twenty grows", room.known(), lambda n: int(n % 20 == 0))]
    del room
    cores = Driver(size, "cores")
    steps.append(cores.decisions("decision: no core free, has nobody", cores.model.newcomers, 1))
    del cores
    busy = Driver(size, "memory")
    newcomers = busy.model.newcomers
    sweeps += [
        busy.sweep(name, newcomers, lambda _: 1)
        for name in ("sweep: no memory free, all busy, newcomers get in line", "sweep: they wait in line")
    ]
    busy.forget_plans()
    steps.append(busy.decisions("decision: no memory free, all busy", busy.known(), 1))
    steps.append(busy.decisions("decision: the same, has nobody", newcomers, 1))
    sweeps.append(busy.sweep("sweep: no memory free, all busy, all want more", busy.known(), lambda _: 1))
    del busy
    idle = Driver(size, "idle")
    steps.append(idle.decisions("decision: no memory free, some idle", idle.known(), 1))
    name = "sweep: no memory free, some idle, one in twenty wants more"
    sweeps.append(idle.sweep(name, idle.known(), lambda n: int(n % 20 == 0)))
    return Results(size, memory, steps, sweeps)


def _timed(what: Callable[[], object]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


def _turns() -> None:
    for _ in range(1_000_000):
        pass


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


_SCALES: Final = {
    "this machine": (1e3, "ms", None),
    "collector": (1e3, "ms", None),
    "report": (1e6, "us", REPORT_US),
    "decision": (1e3, "ms", DECISION_MS),
}


def figures_of(results: Results) -> list[Figure]:
    """Return the figures of one size, with their targets: of reports the mean, as they come all the time."""
    figures = [Figure(name="memory of the snapshot", value=results.memory / 2**20, unit="MiB")]
    for name, seconds in results.steps:
        kind = name.partition(":")[0]
        scale, unit, target = _SCALES[kind]
        p50, p99, most = (value * scale for value in (*_percentiles(seconds), max(seconds)))
        value, which = (fmean(seconds) * scale, "mean") if kind == "report" else (p99, "p99")
        detail = f"p50 {p50:.3g}, p99 {p99:.3g}, most {most:.3g} {unit}, {len(seconds):,} times"
        name = f"{name}, {which}"
        figures.append(Figure(name=name, value=value, unit=unit, least=target, detail=detail))
    for name, seconds in results.sweeps:
        figures.append(Figure(name=name, value=seconds[0] * 1e3, unit="ms", least=SWEEP_MS))
    return figures


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    return percentile(seconds, 50), percentile(seconds, 99)


def show_growth(all_results: Sequence[Results]) -> None:
    """Print what grows with the fleet."""
    table = Table(title="As the fleet grows (p50; whole sweeps)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("workers, functions, containers", no_wrap=True)
    for results in all_results:
        table.add_column(", ".join(f"{each:,}" for each in results.size), justify="right")
    for row in zip(*map(_growth_cells, all_results), strict=True):
        table.add_row(row[0][0], *(value for _, value in row))
    open_console().print(table)


def _growth_cells(results: Results) -> Iterator[tuple[str, str]]:
    yield "memory of the snapshot", f"{results.memory / 2**20:,.1f} MiB"
    for name, seconds in results.steps:
        yield name, f"{percentile(seconds, 50) * 1e6:,.0f} us"
    for name, seconds in results.sweeps:
        yield name.partition(" (")[0], f"{seconds[0] * 1e3:,.1f} ms"


def measure_all(sizes: Iterable[int]) -> Iterator[Results]:
    """Measure each size in a fresh process, so that one does not use the memory of another."""
    context = multiprocessing.get_context("spawn")
    for workers in sizes:
        print(f"measuring {workers:,} workers ...", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield pool.submit(measure, workers).result()


def main() -> int:
    """Measure, print and store; return 1 with --strict when a figure misses what it must reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler_scale", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=SIZES, metavar="N", help="sizes to measure")
    parser.add_argument("--strict", action="store_true", help="fail when a figure misses what it must reach")
    parser.add_argument(
        "--output", type=Path, default=Path("build/scheduler.json"), help="where the JSON goes"
    )
    args = parser.parse_args()
    if min(args.workers) < 1:
        parser.error(f"expected at least one worker, got {min(args.workers)}")
    began = time.monotonic()
    all_results = list(measure_all(args.workers))
    figures = figures_of(all_results[-1])
    show(figures)
    show_growth(all_results)
    named = [
        Figure(**{**vars(figure), "name": f"{results.size.workers} workers: {figure.name}"})
        for results in all_results
        for figure in figures_of(results)
    ]
    store(named, args.output, took=time.monotonic() - began)
    print(f"stored in {args.output}")
    return 1 if args.strict and any(each.verdict == "MISSED" for each in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
