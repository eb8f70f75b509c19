"""The decision about one function: how many containers, where, and why not. A pure function of the snapshot."""

from typing import Final, NamedTuple

from afield._wire.functions import FunctionRecord
from afield_scheduler import autoscale, eviction
from afield_scheduler.autoscale import Idle, Load
from afield_scheduler.backoff import Backoff
from afield_scheduler.placement import Need, Plan, explain, need_of, place
from afield_scheduler.snapshot import Placed, Room, Snapshot

GROW_S: Final = 0.05
"""Seconds until the next look at a function that is still growing."""

WARM_S: Final = 0.5
"""Seconds that the first container of a function has to come up before more are started beside it."""


class Decision(NamedTuple):
    """What is to be done for one function."""

    start_on: tuple[str, ...] = ()
    """Worker ids, one for each container to start."""
    stop: tuple[Placed, ...] = ()
    """Idle containers to stop: the function's own, for which there is nothing to do."""
    waiting: str = ""
    """Why containers that are needed cannot be started now."""
    again_at: float | None = None
    """When to look again earlier than usual (monotonic)."""
    evict: tuple[Placed, ...] = ()
    """Idle containers of other functions to stop, for the room that they take."""
    retire: tuple[Placed, ...] = ()
    """Containers of other functions to stop once they have finished what they run, for the same reason."""
    claim: str = ""
    """The worker on which room is being made for the first container: whatever gets free there is kept for it."""
    short: bool = False
    """More containers are needed than there is room for: look again when some is free."""


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
    load = load_of(snapshot, function, now, wall)
    count = autoscale.to_start(function.spec.scaling, load)
    missing = autoscale.desired(function.spec.scaling, load) - load.containers - count
    if not count:
        again_at = now + GROW_S if missing > 0 else None
        return Decision(stop=_to_stop(snapshot, function, load, wall), again_at=again_at)
    ready_at = backoff.ready_at(function.function_id, now, inputs=load.backlog > 0)
    if ready_at > now:
        reason = "its containers fail; the next one is tried in a moment"
        return Decision(waiting=reason, again_at=ready_at)
    plan = place(need_of(function.spec), snapshot.hosts(function.function_id), count)
    if len(plan.workers) < count:
        return _with_room_made(snapshot, function, plan, count, wall, alone=load.containers == load.waiting)
    return Decision(start_on=plan.workers, again_at=now + GROW_S if missing > 0 else None)


def _with_room_made(
    snapshot: Snapshot, function: FunctionRecord, plan: Plan, count: int, wall: float, *, alone: bool
) -> Decision:
    """Return what to do when there is no room for all containers that are to be started.

    `alone`: nobody is there who could run an input of the function. Then it gets one container whatever others have:
    quiet ones go, then cores are promised more than once, then anybody idle goes, then somebody busy retires.
    """
    function_id, asked = function.function_id, function.spec.resources
    need = need_of(function.spec)
    settled = snapshot.rooms(function_id, settled=True)
    quiet = eviction.idle(snapshot, function, wall)
    evicted, fitting = eviction.make_room(need, asked, settled, quiet, count)
    if evicted:
        plan = place(need, snapshot.hosts(function_id, leaving=_ids(evicted)), count)
    if plan.workers or not alone:
        return Decision(start_on=plan.workers, evict=evicted, short=len(plan.workers) < count)
    if fitting:
        # There is room as soon as those that leave are gone.
        return Decision(evict=evicted, short=True, claim=_where(need, settled, evicted))
    need = need._replace(first=True)
    plan = place(need, snapshot.hosts(function_id), 1)
    if plan.workers:
        return Decision(start_on=plan.workers, short=count > 1)
    idle = eviction.idle(snapshot, function, wall, least=0.0)
    evicted, fitting = eviction.make_room(need, asked, settled, idle, 1)
    if fitting:
        workers = place(need, snapshot.hosts(function_id, leaving=_ids(evicted)), 1).workers
        claim = "" if workers else _where(need, settled, evicted)
        return Decision(start_on=workers, evict=evicted, short=True, claim=claim)
    anybody = eviction.anybody(snapshot, function, wall)
    retired, fitting = eviction.make_room(need, asked, settled, anybody, 1)
    claim = _where(need, settled, retired) if fitting else ""
    return Decision(retire=retired, waiting=explain(plan), short=True, claim=claim)


def _where(need: Need, settled: list[Room], leaving: tuple[Placed, ...]) -> str:
    """Return the worker on which a container will fit when those that leave are gone; empty if there is none."""
    gone = _ids(leaving)
    hosts = [
        Room(room.empty, {c: taken for c, taken in room.taken.items() if c not in gone}).host()
        for room in settled
    ]
    return next(iter(place(need, hosts, 1).workers), "")


def _ids(containers: tuple[Placed, ...]) -> frozenset[str]:
    return frozenset(placed.record.container_id for placed in containers)


def load_of(snapshot: Snapshot, function: FunctionRecord, now: float, wall: float) -> Load:
    """Return what a function has to do, and who is there to do it."""
    warming = snapshot.warming(function.function_id, now, wall)
    return Load(
        backlog=snapshot.backlog.get(function.function_id, 0),
        containers=snapshot.count(function.function_id),
        pack_seconds=snapshot.pack_seconds(function.function_id),
        single_use=function.spec.single_use,
        waiting=snapshot.waiting(function.function_id),
        warming=warming is not None and warming < WARM_S,
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
