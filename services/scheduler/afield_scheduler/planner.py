"""The decision about one function: how many containers, where, and why not. A pure function of the snapshot."""

from typing import Final, NamedTuple

from afield._wire.functions import FunctionRecord
from afield_scheduler import autoscale, offers
from afield_scheduler.autoscale import Idle, Load
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Placed
from afield_scheduler.eviction import make_room
from afield_scheduler.placement import Need, need_of
from afield_scheduler.snapshot import Crew, Snapshot
from afield_scheduler.view import View

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
    need, view = need_of(function.spec), snapshot.view(function.function_id)
    workers = view.place(need, count)
    if len(workers) == count:
        return Decision(start_on=workers, again_at=now + GROW_S if missing > 0 else None)
    if view.never(need) and not snapshot.may_return(need, now):
        alone = not load.containers and not load.leaving
        return Decision(waiting=view.why(need), never=alone)
    room = _Room(snapshot, function, view, count, wall)
    return room.made(workers, alone=load.containers == load.waiting)


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


class _Room:
    """What to do when there is no room for all containers of a function that are to be started."""

    def __init__(
        self, snapshot: Snapshot, function: FunctionRecord, view: View, count: int, wall: float
    ) -> None:
        self._snapshot = snapshot
        self._function = function
        self._view = view
        self._count = count
        self._wall = wall

    def made(self, workers: tuple[str, ...], *, alone: bool) -> Decision:
        """Return the decision. `workers`: where there is room as it is.

        `alone`: nobody is there who could run an input of the function. Then it gets one container whatever others
        have: quiet ones go, then cores are promised more than once, then anybody idle goes, then somebody busy retires.
        """
        need, view, count = need_of(self._function.spec), self._view, self._count
        evicted, fitting = self._cleared(need, self._idle(), count)
        if evicted:
            workers = view.place(need, count, leaving=evicted)
        if workers or not alone:
            return Decision(start_on=workers, evict=evicted, short=len(workers) < count)
        if fitting:
            # There is room as soon as those that leave are gone.
            return Decision(evict=evicted, short=True, claim=fitting[0])
        return self._first(need._replace(first=True))

    def _first(self, need: Need) -> Decision:
        """Return how a function that has nobody gets its first container."""
        view = self._view
        workers = view.place(need, 1)
        if workers:
            return Decision(start_on=workers, short=self._count > 1)
        evicted, fitting = self._cleared(need, self._idle(least=0.0), 1)
        if fitting:
            workers = view.place(need, 1, leaving=evicted)
            return Decision(start_on=workers, evict=evicted, short=True, claim="" if workers else fitting[0])
        anybody = offers.Anybody(self._snapshot, self._function, view, self._wall)
        retired, fitting = self._cleared(need, anybody, 1)
        claim = fitting[0] if fitting else ""
        return Decision(retire=retired, waiting=view.why(need), short=True, claim=claim)

    def _idle(self, least: float = offers.QUIET_S) -> offers.Idle:
        return offers.Idle(self._snapshot, self._function, self._view, self._wall, least=least)

    def _cleared(
        self, need: Need, offered: offers.Offers, count: int
    ) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
        return make_room(need, self._function.spec.resources, self._view, offered, count)


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
