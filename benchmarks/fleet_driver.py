"""Drives the scheduler's core as its service does, with a model fleet, and measures what that costs.

Times are of the processor, not of the clock, so that other work on the machine counts little.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, cycle
from math import inf
from typing import Final, NamedTuple

from afield._wire.codec import decode, encode
from afield._wire.functions import FunctionRecord, WorkerRecord
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Placed, Starting
from afield_scheduler.planner import Decision, decide
from afield_scheduler.snapshot import Snapshot
from benchmarks.fleet_model import WALL, Load, Model, Size

SAMPLES: Final = 1_000
PATIENCE_S: Final = 30.0
"""Seconds after which a measurement ends with the samples that it has."""

TRIES: Final = 3
LONG_S: Final = 0.1
"""Seconds of a decision that is measured once, and not TRIES times."""


class Measured(NamedTuple):
    """Seconds of something, again and again."""

    name: str
    seconds: list[float]


class Driver:
    """One snapshot under one load, driven as the shell drives it."""

    def __init__(self, size: Size, load: Load) -> None:
        self.model = Model(size, load, newcomers=max(10, size.functions // 10))
        self.snapshot = Snapshot()
        self.backoff = Backoff()
        self.now = 1_000.0
        self._ids = count()
        self._told: list[Placed] = []
        for function in self.model.functions:
            self.snapshot.put_function(decode(FunctionRecord, encode(function)))
        for record in self.model.workers():
            self.snapshot.put_worker(decode(WorkerRecord, encode(record)))
        for function in self.model.functions:
            self._wants(function, 0)
        self._settle()

    def _wants(self, function: FunctionRecord, more: int) -> None:
        """Let a function have work for its containers, and for some more."""
        function_id = function.function_id
        self.snapshot.backlog[function_id] = self.snapshot.count(function_id) + more

    def _decide(self, function: FunctionRecord) -> tuple[Decision, float]:
        began = time.process_time()
        decision = decide(self.snapshot, function, self.backoff, now=self.now, wall=WALL)
        return decision, time.process_time() - began

    def _carry_out(self, function: FunctionRecord, decision: Decision) -> None:
        """Note what is set in motion, as the director does."""
        for placed in (*decision.stop, *decision.evict, *decision.retire, *decision.reduce):
            self.snapshot.mark_stopping(placed.record.container_id, self.now)
            self._told.append(placed)
        for worker_id in decision.start_on:
            container_id, asked = f"ta-new-{next(self._ids)}", function.spec.resources
            start = Starting(container_id, function.function_id, worker_id, asked, self.now)
            self.snapshot.add_start(start)
        self.snapshot.claim(function.function_id, decision.claim, function.spec.resources, self.now)

    def _happens(self, function: FunctionRecord, decision: Decision) -> None:
        """Have all of it done by the workers: who was told to stop is gone, and the function has the place."""
        self._carry_out(function, decision)
        if self._told:
            self._report()
            self._carry_out(function, self._decide(function)[0])
        self._report()

    def _report(self) -> None:
        """Have the workers report what has become of what they were asked."""
        gone = {placed.record.container_id for placed in self._told}
        for worker_id in {p.worker_id for p in self._told} | {s.worker_id for s in self._starts()}:
            record = self.snapshot.workers[worker_id]
            kept = tuple(c for c in record.containers if c.container_id not in gone)
            new = tuple(self.model.started(start) for start in self._starts() if start.worker_id == worker_id)
            self.snapshot.put_worker(replace(record, containers=kept + new))
        self._told.clear()

    def _starts(self) -> list[Starting]:
        return list(self.snapshot.starting.values())

    # -- what is measured -----------------------------------------------------------------------------

    def reports(self) -> Iterator[Measured]:
        """Yield the steps from the bytes in the bucket to what a decision is made on."""
        read, taken = list[float](), list[float]()
        ends = time.monotonic() + PATIENCE_S
        for worker_id in self._workers():
            data = encode(self._later(worker_id))
            began = time.process_time()
            fresh = decode(WorkerRecord, data)
            decoded = time.process_time()
            self.snapshot.put_worker(fresh)
            self._settle()
            taken.append(time.process_time() - decoded)
            read.append(decoded - began)
            if time.monotonic() > ends:
                break
        yield Measured("report: bytes to a record", read)
        yield Measured("report: taken in", taken)

    def decisions(self, name: str, functions: Sequence[FunctionRecord], more: int) -> Measured:
        """Measure single decisions, each carried out before the next.

        A decision changes nothing, so it is made some times over, each time after another worker's report, and the best
        time is its cost.
        """
        seconds = list[float]()
        workers = cycle(self._workers())
        ends = time.monotonic() + PATIENCE_S
        for function in functions[:SAMPLES]:
            took = inf
            for _ in range(TRIES):
                self.snapshot.put_worker(self._later(next(workers)))
                self._wants(function, more)
                self._settle()
                decision, again = self._decide(function)
                took = min(took, again)
                if took > LONG_S:
                    break
            seconds.append(took)
            self._happens(function, decision)
            if time.monotonic() > ends:
                break
        return Measured(name, seconds)

    def _workers(self) -> list[str]:
        return list(self.snapshot.workers)[:SAMPLES]

    def _later(self, worker_id: str) -> WorkerRecord:
        return self.model.later(self.snapshot.workers[worker_id])

    def _settle(self) -> None:
        """Have what was reported taken in, which otherwise the next decision does first."""
        self.snapshot.view("")

    def known(self) -> Sequence[FunctionRecord]:
        """Return the functions that have containers, or had some."""
        return self.model.functions[: self.model.size.functions]

    def forget_plans(self) -> None:
        """Forget what was set in motion, as who takes over the lead does."""
        self.snapshot.forget_plans()
        self._told.clear()
        self._settle()

    def sweep(self, name: str, functions: Sequence[FunctionRecord], want: Callable[[int], int]) -> Measured:
        """Measure a decision for every function; `want` says how many more containers each has work for."""
        for number, function in enumerate(functions):
            self._wants(function, want(number))
        gc.collect()
        began = time.process_time()
        for number, function in enumerate(functions):
            decision, _ = self._decide(function)
            self._carry_out(function, decision)
            if time.process_time() - began > PATIENCE_S:
                done = (number + 1) / len(functions)
                return Measured(f"{name} (from {done:.1%} of it)", [(time.process_time() - began) / done])
        return Measured(name, [time.process_time() - began])
