"""How each work is timed: the same code for every peer."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers.programs.peer import Peer

PATIENCE_S = 5.0
"""Seconds after which a work is not repeated any more."""

Figures = dict[str, float]


def nothing(peer: Peer) -> Figures:
    """Make the first call; who started this program knows how long that took."""
    _check(peer.call(42), 42)
    return {}


def warm(peer: Peer, *, calls: int) -> Figures:
    """One call after another."""
    for number in range(max(10, calls // 10)):
        _check(peer.call(number), number)
    times = []
    for number in range(calls):
        began = time.perf_counter()
        result = peer.call(number)
        times.append(time.perf_counter() - began)
        _check(result, number)
    return {
        "p50": statistics.median(times) * 1e3,
        "p99": statistics.quantiles(times, n=100, method="inclusive")[98] * 1e3,
    }


def map_(peer: Peer, *, inputs: int) -> Figures:
    """A map of no-ops, after a smaller one that warms everything up."""
    peer.map(range(max(1, inputs // 10)))
    values = range(inputs)
    return {"rate": inputs / _median(lambda: _check(peer.map(values), list(values)), at_most=3)}


def batches(peer: Peer, *, inputs: int, size: int) -> Figures:
    """As `map_`, with several inputs in a call."""
    peer.batches(range(max(size, inputs // 10)), size)
    values = range(inputs)
    return {"rate": inputs / _median(lambda: _check(peer.batches(values, size), list(values)), at_most=3)}


def flights(peer: Peer, *, calls: int, times: int) -> Figures:
    """Many asynchronous calls at once, after as many that let the system grow to what they need."""
    values = range(calls)
    with peer.flights() as fly:
        fly(values)
        return {"rate": calls / _median(lambda: _check(fly(values), list(values)), at_most=times)}


def nested(peer: Peer, *, calls: int, times: int) -> Figures:
    """A call that makes many, after one that warms everything up."""
    total = calls * (calls - 1) // 2
    _check(peer.nested(calls), total)
    return {"ms": 1e3 * _median(lambda: _check(peer.nested(calls), total), at_most=times)}


def large(peer: Peer, *, megabytes: int, times: int) -> Figures:
    """Bytes that nothing can compress, there and back, after a first time."""
    data = os.urandom(megabytes * 10**6)

    def there_and_back() -> None:
        if peer.echo(data) != data:
            raise AssertionError("other bytes came back than were sent")

    there_and_back()
    return {"ms": 1e3 * _median(there_and_back, at_most=times)}


def cold(peer: Peer, *, times: int) -> Figures:
    """Calls for which a process must be started; the first shows nothing but what is loaded once."""
    taken = []
    for number in range(times + 1):
        peer.before_cold()
        began = time.perf_counter()
        result = peer.cold(number)
        taken.append(time.perf_counter() - began)
        _check(result, number)
    return {"ms": 1e3 * statistics.median(taken[1:])}


def naps(peer: Peer, *, inputs: int, seconds: float, slots: int) -> Figures:
    """How much of their time the slots are busy in a map of short sleeps, in percent."""
    expected = [seconds] * inputs
    peer.naps(inputs, seconds)
    taken = _median(lambda: _check(peer.naps(inputs, seconds), expected), at_most=3)
    return {"efficiency": 100 * (inputs * seconds / slots) / taken}


def idle(peer: Peer) -> Figures:
    """Do nothing, until the next line comes: who started this program looks at its processes meanwhile."""
    print(f"{type(peer).__name__} idles", file=sys.stderr, flush=True)
    sys.stdin.readline()
    return {}


MEASURES: dict[str, Callable[..., Figures]] = {
    "nothing": nothing,
    "warm": warm,
    "map": map_,
    "batches": batches,
    "flights": flights,
    "nested": nested,
    "bytes-1": large,
    "bytes-10": large,
    "bytes-100": large,
    "cold": cold,
    "naps": naps,
    "idle": idle,
}


def _median(step: Callable[[], None], *, at_most: int) -> float:
    """Return the median of the seconds that a step takes: once at least, and no more after PATIENCE_S."""
    times: list[float] = []
    while not times or (len(times) < at_most and sum(times) < PATIENCE_S):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _check(result: Any, expected: Any) -> None:
    if result != expected:
        raise AssertionError(f"expected {str(expected)[:100]}, got {str(result)[:100]}")
