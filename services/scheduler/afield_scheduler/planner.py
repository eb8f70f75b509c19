"""The decision about one function: how many containers, where, and why not. A pure function of the snapshot."""

from typing import NamedTuple

from afield._wire.functions import FunctionRecord
from afield_scheduler import autoscale
from afield_scheduler.autoscale import Idle, Load
from afield_scheduler.backoff import Backoff
from afield_scheduler.placement import explain, need_of, place
from afield_scheduler.snapshot import Placed, Snapshot


class Decision(NamedTuple):
    """What is to be done for one function."""

    start_on: tuple[str, ...] = ()
    """Worker ids, one for each container to start."""
    stop: tuple[Placed, ...] = ()
    """Idle containers to stop."""
    waiting: str = ""
    """Why containers that are needed cannot be started now."""
    again_at: float | None = None
    """When to look again earlier than usual (monotonic)."""


GROW_S = 0.05
"""Seconds until the next look at a function that is still growing."""


def decide(
    snapshot: Snapshot,
    function: FunctionRecord,
    backoff: Backoff,
    *,
    now: float,
    wall: float,
) -> Decision:
    """Return what to do for a function.

    `now` is monotonic, for what we timed ourselves; `wall` is Unix time, for what workers report.
    """
    load = load_of(snapshot, function)
    count = autoscale.to_start(function.spec.scaling, load)
    if not count:
        return Decision(stop=_to_stop(snapshot, function, load, wall))
    ready_at = backoff.ready_at(function.function_id, now)
    if ready_at > now:
        reason = "its containers fail; the next one is tried in a moment"
        return Decision(waiting=reason, again_at=ready_at)
    plan = place(need_of(function.spec), snapshot.hosts(function.function_id), count)
    full = len(plan.workers) < count
    missing = autoscale.desired(function.spec.scaling, load) - load.containers - len(plan.workers)
    # A function that has some containers makes progress: that it could use more is no news.
    alone = full and not load.containers and not plan.workers
    return Decision(
        start_on=plan.workers,
        waiting=explain(plan) if alone else "",
        again_at=now + GROW_S if missing > 0 and not full else None,
    )


def load_of(snapshot: Snapshot, function: FunctionRecord) -> Load:
    """Return what a function has to do, and who is there to do it."""
    return Load(
        backlog=snapshot.backlog.get(function.function_id, 0),
        containers=snapshot.count(function.function_id),
        pack_seconds=snapshot.pack_seconds(function.function_id),
        single_use=function.spec.single_use,
    )


def _to_stop(snapshot: Snapshot, function: FunctionRecord, load: Load, wall: float) -> tuple[Placed, ...]:
    ready = {
        placed.record.container_id: placed
        for placed in snapshot.containers(function.function_id)
        if placed.record.idle_since > 0 and not placed.record.busy
    }
    idle = [Idle(container_id, placed.record.idle_since) for container_id, placed in ready.items()]
    stop = autoscale.surplus(function.spec.scaling, load, idle, wall)
    return tuple(ready[container_id] for container_id in stop)
