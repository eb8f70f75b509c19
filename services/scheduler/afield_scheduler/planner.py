"""The decision about one function: how many containers, where, and why not. A pure function of the snapshot."""

from typing import Final, NamedTuple

from afield._wire.functions import FunctionRecord
from afield_scheduler import autoscale, eviction
from afield_scheduler.autoscale import Idle, Load
from afield_scheduler.backoff import Backoff
from afield_scheduler.placement import Need, Plan, explain, need_of, place
from afield_scheduler.snapshot import Crew, Placed, Room, Snapshot

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
    reduce: tuple[Placed, ...] = ()
    """The function's own containers to stop once they have finished what they run: more than it may have."""
    never: bool = False
    """Nobody is there who could run an input, and no worker, present or about to come back, ever can."""


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
    crew = snapshot.crew(function.function_id, now, wall)
    load = load_of(snapshot, function, crew)
    scaling = function.spec.scaling
    count = autoscale.to_start(scaling, load)
    missing = autoscale.desired(scaling, load) - load.containers - count
    if not count:
        return _without_start(function, crew, load, missing, now, wall)
    ready_at = backoff.ready_at(function.function_id, now, inputs=load.backlog > 0)
    if ready_at > now:
        error = backoff.error(function.function_id, now)
        said = f": {error.message}" if error is not None else ""
        reason = f"its containers fail; the next one is tried in a moment{said}"
        return Decision(waiting=reason, again_at=ready_at)
    if backoff.failing(function.function_id, now):
        count = 1
    plan = place(need_of(function.spec), snapshot.hosts(function.function_id), count)
    if plan.never and not snapshot.may_return(need_of(function.spec), now):
        alone = not load.containers and not load.leaving
        return Decision(waiting=explain(plan), never=alone)
    if len(plan.workers) < count:
        return _with_room_made(snapshot, function, plan, count, wall, alone=load.containers == load.waiting)
    return Decision(start_on=plan.workers, again_at=now + GROW_S if missing > 0 else None)


def _without_start(
    function: FunctionRecord, crew: Crew, load: Load, missing: int, now: float, wall: float
) -> Decision:
    """Return what to do when nothing is to be started: stop what is too much, and see when to look again."""
    scaling = function.spec.scaling
    again_at = now + GROW_S if missing > 0 else None
    if missing >= 0:
        return Decision(again_at=again_at)
    ready = {p.record.container_id: p for p in crew.placed if _is_idle(p)}
    idle = [Idle(container_id, placed.record.idle_since) for container_id, placed in ready.items()]
    stop = tuple(ready[container_id] for container_id in autoscale.surplus(scaling, load, idle, wall))
    over = autoscale.excess(scaling, load) - len(stop)
    if not stop and (surplus_in := autoscale.next_surplus(scaling, load, idle, wall)) is not None:
        again_at = now + max(GROW_S, surplus_in)
    return Decision(stop=stop, reduce=_last_come(crew, over) if over > 0 else (), again_at=again_at)


def _is_idle(placed: Placed) -> bool:
    return placed.record.idle_since > 0 and not placed.record.busy


def _last_come(crew: Crew, count: int) -> tuple[Placed, ...]:
    """Return the busy containers that came last: they have least to lose."""
    busy = [p for p in crew.placed if not _is_idle(p)]
    busy.sort(key=lambda p: (p.record.started_at, p.record.container_id), reverse=True)
    return tuple(busy[:count])


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


def load_of(snapshot: Snapshot, function: FunctionRecord, crew: Crew) -> Load:
    """Return what a function has to do, and who is there to do it."""
    slow = function.function_id in snapshot.slow
    return Load(
        backlog=snapshot.backlog.get(function.function_id, 0),
        containers=crew.number,
        pack_seconds=None if slow else snapshot.pack_seconds(function.function_id),
        single_use=function.spec.single_use,
        waiting=crew.waiting,
        warming=(crew.warming is not None and crew.warming < WARM_S) or (slow and crew.coming > 0),
        capacity=autoscale.capacity(function.spec),
        leaving=crew.leaving,
    )
