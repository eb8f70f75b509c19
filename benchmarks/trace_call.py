"""Where the time of one warm call goes, hop by hop: `python -m benchmarks.trace_call`.

A second process listens on the bus as the operator and notes when each message of a call comes by; the function itself
notes when it runs. All clocks are the host's one monotonic clock. What the listener sees, it sees some 0.05 ms late.
Beside it: the same way over the bare bus, without functions, and the steps that need no other process.
"""

import asyncio
from time import monotonic_ns
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from afield._bus.connection import BusAddress
from benchmarks import bare_path, parts
from benchmarks.figures import open_console, percentile
from benchmarks.stack import running_platform
from benchmarks.tap import listening, noted
from benchmarks.workloads import app, moments

CALLS = 500
WARM_UP = 200

HOPS = {
    "called": "client: remote() is called",
    "stored input": "server: the input has arrived",
    "delivered": "server: it goes to the worker that pulls",
    "function begins": "container: the function begins",
    "function ends": "container: the function returns",
    "published result": "server: the result has arrived",
    "stored result": "server: it is stored and republished",
    "returned": "client: remote() returns",
}


class Call(NamedTuple):
    """When one call passed the places that client and container know."""

    called: int
    begins: int
    ends: int
    returned: int


def main() -> None:
    """Measure and print."""
    with running_platform() as record:
        user, _, secret = record["operator"].partition(":")
        address = BusAddress(record["server"], user, secret)
        times, calls, bare = asyncio.run(_with_streams(address, record))
    console = open_console()
    console.print(_hops_table(times, len(calls)))
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


async def _with_streams(
    address: BusAddress, record: dict[str, Any]
) -> tuple[dict[str, list[int]], list[Call], list[float]]:
    async with bare_path.streams(address):
        with listening(record) as tap:
            bare = await bare_path.measure(address)
            calls = await asyncio.to_thread(_call)
            seen = noted(tap)
    return _combine(calls, seen), calls, bare


def _call() -> list[Call]:
    calls = []
    with app.run():
        for _ in range(WARM_UP + CALLS):
            called = monotonic_ns()
            begins, ends = moments.remote()
            calls.append(Call(called, begins, ends, monotonic_ns()))
    return calls


def _combine(calls: list[Call], seen: list[tuple[str, str, int]]) -> dict[str, list[int]]:
    """Return nanoseconds since the start of its call for each hop, call by call; the warm-up is left out."""
    by_call: dict[str, dict[str, int]] = {}
    for hop, call_id, at in seen:
        by_call.setdefault(call_id, {}).setdefault(hop, at)
    # The calls were made one after another, so the order of their inputs on the bus is theirs.
    ordered = sorted(by_call.values(), key=lambda hops: hops.get("stored input", 0))
    if len(ordered) != len(calls):
        raise RuntimeError(
            f"expected the messages of {len(calls)} calls on the bus, saw those of {len(ordered)}"
        )
    times: dict[str, list[int]] = {hop: [] for hop in HOPS}
    for call, hops in list(zip(calls, ordered, strict=True))[WARM_UP:]:
        own = {"called": call.called, "function begins": call.begins, "function ends": call.ends}
        for hop, at in {**hops, **own, "returned": call.returned}.items():
            times[hop].append(at - call.called)
    return times


def _hops_table(times: dict[str, list[int]], calls: int) -> Table:
    title = f"One warm call (median of {calls - WARM_UP})"
    table = Table("hop", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("since the start, ms", justify="right")
    table.add_column("this hop, ms", justify="right")
    before = 0.0
    for hop, name in HOPS.items():
        at = percentile(times[hop], 50) / 1e6 if times[hop] else float("nan")
        table.add_row(name, f"{at:.3f}", f"{at - before:+.3f}" if hop != "called" else "")
        before = at
    return table


if __name__ == "__main__":
    main()
