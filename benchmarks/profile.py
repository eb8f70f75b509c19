"""Where the time goes, process by process: `python -m benchmarks.profile [warm|map|flights] [--seconds N]`.

First the processor time of each process for one call, then, over the same work once more, the functions that run most in the
Python processes. Sampling stops what it looks at, so nothing is timed while it is done.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import folded, processor, sampling
from benchmarks.figures import open_console
from benchmarks.load import Load, loading
from benchmarks.stack import processes, running_platform

TITLES: Final = {
    "map": "a map of 10,000 no-ops, again and again; for each input",
    "warm": "one warm blocking call after another; for each call",
    "flights": "1,000 async calls in flight from one client; for each call",
}
ORDER: Final = ("client", "nats-server", "services", "containers", "template", "supervisor")
COMPILED: Final = ("nats-server",)
SAMPLED_FROM: Final = 0.02
"""Kinds of process with less than this part of all processor time are not worth a sampler."""
LEAST_MICROS: Final = 0.05
"""Kinds of process with less for one call would be shown as 0.0, and are left out."""
SMALL: Final = 0.01
"""Functions with less than this part of their process's samples are left out."""


class Spent(NamedTuple):
    """What the processes of one kind ran."""

    kind: str
    processes: int
    micros: float
    """Microseconds of processor time for each call."""
    share: float
    """Part of the processor time of all processes, 0 to 1."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument(
        "mode", nargs="?", default="map", choices=TITLES, help="what the client does: map by default"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        help="how long it does that, once for the times, once for the functions",
    )
    parser.add_argument("--functions", type=int, default=12, help="functions shown of each process")
    args = parser.parse_args()
    if args.seconds <= 0:
        parser.error(f"--seconds: expected more than 0, got {args.seconds:g}")
    with running_platform() as record, loading(args.mode) as load:
        _report(open_console(), record, load, args)


def _report(console: Console, record: dict[str, Any], load: Load, args: argparse.Namespace) -> None:
    kinds = _kinds(record, load.pid)
    before = processor.snapshot(kinds)
    began = time.monotonic()
    calls = load.work(args.seconds)
    took = time.monotonic() - began
    kinds = _kinds(record, load.pid)  # there may be more containers by now
    times = processor.spent(before, processor.snapshot(kinds))
    spent = summarise(kinds, times, calls)
    console.print(f"Processor time: {TITLES[args.mode]}", style="italic")
    console.print(times_table(spent, calls / took))
    chosen = busiest(kinds, times)
    try:
        with sampling.sampled(chosen.values()) as stacks:
            load.work(args.seconds)
    except sampling.CannotSampleError as error:
        console.print(f"Functions are not shown: {error}", markup=False)
        return
    for kind, pid in chosen.items():
        console.print(heading(kind, stacks[pid]), style="italic")
        console.print(functions_table(stacks[pid], args.functions))


def _kinds(record: dict[str, Any], client: int) -> dict[int, str]:
    """Return what each process is: the client and all of the platform."""
    rows = []
    for process in processes(record):
        try:
            rows.append((process.pid, process.ppid(), process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return {client: "client", **name_processes(rows, record["pid"])}


def name_processes(rows: Iterable[tuple[int, int, list[str]]], supervisor: int) -> dict[int, str]:
    """Return what each process of a platform is, from its id, its parent's and its command line; parents come first."""
    names: dict[int, str] = {}
    for pid, parent, command in rows:
        line = " ".join(command)
        if names.get(parent) in (
            "template",
            "containers",
        ):  # forks, with the command line of what they were forked from
            names[pid] = "containers"
        elif pid == supervisor:
            names[pid] = "supervisor"
        elif "afield._guest.template" in line:
            names[pid] = "template"
        elif "nats-server" in line:
            names[pid] = "nats-server"
        else:
            names[pid] = "services"
    return names


def summarise(kinds: Mapping[int, str], times: Mapping[int, int], calls: int) -> list[Spent]:
    """Return what the processes of each kind ran, from the nanoseconds of each process."""
    ran: Counter[str] = Counter()
    for pid, nanos in times.items():
        ran[kinds[pid]] += nanos
    count = Counter(kinds.values())
    total = sum(ran.values())
    return [
        Spent(kind, count[kind], ran[kind] / calls / 1e3, ran[kind] / total if total else 0.0)
        for kind in ORDER
        if count[kind]
    ]


def busiest(kinds: Mapping[int, str], times: Mapping[int, int]) -> dict[str, int]:
    """Return the process of each kind that ran most, of kinds that run Python and are worth a sampler."""
    total = sum(times.values())
    chosen = {}
    for kind in ORDER:
        alike = {pid: ran for pid, ran in times.items() if kinds[pid] == kind}
        if kind not in COMPILED and sum(alike.values()) > SAMPLED_FROM * total:
            chosen[kind] = max(alike, key=lambda pid: alike[pid])
    return chosen


def times_table(spent: list[Spent], rate: float) -> Table:
    """Return processor time by kind of process."""
    table = Table("process", box=box.SIMPLE_HEAD)
    table.add_column("processes", justify="right")
    table.add_column("µs", justify="right")
    table.add_column("%", justify="right")
    for each in spent:
        if each.micros < LEAST_MICROS:
            continue
        table.add_row(each.kind, str(each.processes), f"{each.micros:.1f}", f"{each.share * 100:.0f}")
    table.add_section()
    together = sum(each.micros for each in spent)
    table.add_row(
        f"together, at {rate:,.0f}/s", str(sum(each.processes for each in spent)), f"{together:.1f}", "100"
    )
    return table


def heading(kind: str, stacks: folded.Stacks) -> str:
    """Return what stands above the functions of a process."""
    parts = folded.aside(stacks)
    loop, waits = (f"{parts[name] * 100:.0f} %" for name in (folded.LOOP, folded.WAITS))
    samples = f"{sum(stacks.values()):,} samples"
    return f"{kind}: of {samples}, {loop} in the event loop (its code, system calls, waiting), {waits} in waits; the others:"


def functions_table(stacks: folded.Stacks, most: int) -> Table:
    """Return the functions that run most."""
    table = Table("function", box=box.SIMPLE_HEAD)
    table.add_column("itself, %", justify="right")
    table.add_column("with what it calls, %", justify="right")
    for share in folded.rank(stacks)[:most]:
        if share.itself >= SMALL:
            table.add_row(share.function, f"{share.itself * 100:.1f}", f"{share.within * 100:.1f}")
    return table


if __name__ == "__main__":
    main()
