"""Where the time of one warm call goes, hop by hop: `python -m benchmarks.trace_call`.

Client and container note when a call comes by, and the server's own times are in its messages. That takes a call some
microseconds. Then the same once more, with a second process that listens on the bus as the operator: it alone sees when the
input goes to the worker, some 0.05 ms late, and slows the call. All clocks are the host's one monotonic clock.
Beside it: the same way over the bare bus, without functions, and the steps that need no other process.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic_ns
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

from afield._bus.connection import BusAddress
from benchmarks import bare_path, parts
from benchmarks.figures import open_console, percentile
from benchmarks.probes import ClientNotes
from benchmarks.stack import running_platform
from benchmarks.tap import listening, noted
from benchmarks.workloads import app, moments

CALLS: Final = 500
WARM_UP: Final = 200

HOPS: Final = {
    "called": "client: remote() is called",
    "sent": "client: the arguments are bytes, the input is sent",
    "stored input": "server: the input is stored",
    "delivered": "server: it goes to the worker that pulls",
    "received": "container: has the call",
    "begins": "container: the function begins",
    "ends": "container: the function returns",
    "worker publishes": "worker: the result is sent",
    "stored result": "server: the result is stored",
    "woken": "client: has the result",
    "returned": "client: remote() returns",
}

Times = dict[str, list[int]]
"""Hop to nanoseconds since the start of its call, call by call; without the hops that nobody saw."""


class Call(NamedTuple):
    """When one call passed the places that caller and function know."""

    called: int
    received: int
    begins: int
    ends: int
    returned: int


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m benchmarks.trace_call", description=__doc__).parse_args()
    with running_platform() as record:
        user, _, secret = record["operator"].partition(":")
        alone = combine(*_call(), warm_up=WARM_UP)
        listened, bare = asyncio.run(_listened(BusAddress(record["server"], user, secret), record))
    console = open_console()
    console.print(f"One warm call, ms (medians of {CALLS})", style="italic")
    console.print(hops_table(alone, listened))
    console.print(
        '"listened to": a second run, in which another process listens and sees what the server does\n'
    )
    console.print(
        f"The bare durable path (publish, pull, publish, republish): p50 {percentile(bare, 50) * 1e3:.2f} ms, "
        f"p99 {percentile(bare, 99) * 1e3:.2f} ms\n"
    )
    console.print("Steps that need no other process, for f(42)", style="italic")
    table = Table("step by itself", box=box.SIMPLE_HEAD)
    table.add_column("µs", justify="right")
    for part in parts.measure():
        table.add_row(part.name, f"{part.seconds * 1e6:.1f}")
    console.print(table)


async def _listened(address: BusAddress, record: dict[str, Any]) -> tuple[Times, list[float]]:
    async with bare_path.streams(address):
        with listening(record) as tap:
            bare = await bare_path.measure(address)
            calls, notes = await asyncio.to_thread(_call)
            seen = noted(tap)
    return combine(calls, notes, seen, warm_up=WARM_UP), bare


def _call() -> tuple[list[Call], dict[str, dict[str, int]]]:
    notes = ClientNotes()
    calls = []
    with notes.taken(), app.run():
        for _ in range(WARM_UP + CALLS):
            called = monotonic_ns()
            received, begins, ends = moments.remote()
            calls.append(Call(called, received, begins, ends, monotonic_ns()))
    return calls, notes.hops()


def combine(
    calls: Sequence[Call],
    notes: Mapping[str, Mapping[str, int]],
    seen: Sequence[tuple[str, str, int]] = (),
    *,
    warm_up: int,
) -> Times:
    """Bring together what caller and function, the client, and the listener know; the first calls are left out.

    Raises RuntimeError when the client noted other calls than these.
    """
    by_call: dict[str, dict[str, int]] = {call_id: dict(hops) for call_id, hops in notes.items()}
    for hop, call_id, at in seen:
        if call_id in by_call:
            by_call[call_id].setdefault(hop, at)
    # The calls were made one after another, so the order of their inputs is theirs.
    ordered = sorted(by_call.values(), key=lambda hops: hops["sent"])
    if len(ordered) != len(calls):
        raise RuntimeError(
            f"expected the messages of {len(calls)} calls, the client noted those of {len(ordered)}"
        )
    times: Times = {hop: [] for hop in HOPS}
    for call, hops in list(zip(calls, ordered, strict=True))[warm_up:]:
        for hop, at in {**hops, **call._asdict()}.items():
            times[hop].append(at - call.called)
    return {hop: each for hop, each in times.items() if each}


def hops_table(alone: Times, listened: Times) -> Table:
    """Return the medians: since the start, and since the hop before that was seen."""
    table = Table("hop", box=box.SIMPLE_HEAD)
    table.add_column("since the start", justify="right")
    table.add_column("this hop", justify="right")
    table.add_column("listened to", justify="right")
    table.add_column("this hop", justify="right")
    columns = [medians(alone), medians(listened)]
    for hop, name in HOPS.items():
        table.add_row(name, *(cell for column in columns for cell in column.get(hop, ("", ""))))
    return table


def medians(times: Times) -> dict[str, tuple[str, str]]:
    """Return for each hop that was seen when it was, and how long it took, as text (ms)."""
    cells = {}
    before: float | None = None
    for hop in HOPS:
        if hop in times:
            at = percentile(times[hop], 50) / 1e6
            cells[hop] = f"{at:.3f}", f"{at - before:+.3f}" if before is not None else ""
            before = at
    return cells


if __name__ == "__main__":
    main()
