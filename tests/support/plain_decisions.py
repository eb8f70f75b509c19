"""The scheduler's decisions, computed plainly: everything is added up and looked through anew, host by host.

What afield_scheduler decides with its indexes must be exactly this.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import fsum
from typing import NamedTuple

from afield._wire.functions import FunctionRecord, Resources, WorkerRecord
from afield_scheduler import autoscale
from afield_scheduler.account import empty
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Placed
from afield_scheduler.offers import QUIET_S, SLICE_S
from afield_scheduler.placement import (
    Host,
    Need,
    Plan,
    Rank,
    Taken,
    explain,
    misfit,
    need_of,
    occupied,
    place,
    rank,
)
from afield_scheduler.planner import Decision, load_of
from afield_scheduler.snapshot import Snapshot


class Room(NamedTuple):
    """A host and what is taken of it, by container id."""

    empty: Host
    taken: dict[str, Taken]

    def host(self) -> Host:
        """Return the host as it stands."""
        return occupied(self.empty, self.taken.values())


def rooms(
    snapshot: Snapshot, function_id: str, *, leaving: Collection[str] = (), settled: bool = False
) -> list[Room]:
    """Return all hosts, by worker id. `settled`: as if all that was told to stop were gone."""
    return [
        Room(
            _empty(snapshot, worker, function_id),
            {**_taken(snapshot, worker, leaving, settled), **_claimed(snapshot, worker, function_id)},
        )
        for _, worker in sorted(snapshot.workers.items())
    ]


def hosts(snapshot: Snapshot, function_id: str, *, leaving: Collection[str] = ()) -> list[Host]:
    """Return all hosts as they stand, by worker id."""
    return [room.host() for room in rooms(snapshot, function_id, leaving=leaving)]


def _empty(snapshot: Snapshot, worker: WorkerRecord, function_id: str) -> Host:
    refused = snapshot._refusals.reason(function_id, worker.worker_id)
    return replace(empty(worker), refused=refused)


def _taken(
    snapshot: Snapshot, worker: WorkerRecord, leaving: Collection[str], settled: bool
) -> dict[str, Taken]:
    taken: dict[str, Taken] = {}
    for container in worker.containers:
        container_id = container.container_id
        if container_id not in snapshot._crews.placed:
            continue
        told = container.state == "stopping" or container_id in snapshot._crews.stopping
        if settled and told:
            continue
        goes = (told or container_id in leaving) and not container.busy
        taken[container_id] = Taken(container.resources, not (goes or container.waits), container.gpus)
    starts = (start for start in snapshot.starting.values() if start.worker_id == worker.worker_id)
    return {**taken, **{start.container_id: Taken(start.resources) for start in starts}}


def _claimed(snapshot: Snapshot, worker: WorkerRecord, function_id: str) -> dict[str, Taken]:
    claims = snapshot._claims._claims
    own = claims.get(function_id)
    if own is not None and own.worker_id != worker.worker_id:
        own = None
    return {
        f"claim {claimant}": Taken(claim.resources)
        for claimant, claim in claims.items()
        if claim.worker_id == worker.worker_id
        and claimant != function_id
        and (own is None or claim.since < own.since)
    }


# -- who could go -----------------------------------------------------------------------------------


def _others(snapshot: Snapshot, function: FunctionRecord) -> Iterable[Placed]:
    for function_id in snapshot.functions:
        if function_id != function.function_id:
            yield from (p for p in snapshot.containers(function_id) if p.record.state == "ready")


def idle(snapshot: Snapshot, function: FunctionRecord, wall: float, least: float = QUIET_S) -> list[Placed]:
    """Return the containers of other functions that were idle for `least` seconds, longest first."""
    found = [
        p
        for p in _others(snapshot, function)
        if p.record.idle_since > 0 and not p.record.busy and wall - p.record.idle_since >= least
    ]
    found.sort(key=lambda p: (p.record.idle_since, p.record.container_id))
    return _above_minimum(snapshot, found)


def anybody(snapshot: Snapshot, function: FunctionRecord, wall: float) -> list[Placed]:
    """Return the containers of other functions that could end after what they run, if anything."""
    share = {f: snapshot.count(f) for f in snapshot.functions}

    def can_go(placed: Placed) -> bool:
        container = placed.record
        if not container.busy:
            return True
        endless = snapshot.functions[container.function_id].spec.may_yield
        had_time = share[container.function_id] > 1 or wall - container.started_at >= SLICE_S
        return had_time and not container.waits and not endless

    found = [placed for placed in _others(snapshot, function) if can_go(placed)]
    found.sort(
        key=lambda p: (
            p.record.busy > 0,
            -share[p.record.function_id],
            p.record.started_at,
            p.record.container_id,
        )
    )
    return _above_minimum(snapshot, found)


def _above_minimum(snapshot: Snapshot, offered: Sequence[Placed]) -> list[Placed]:
    taken: Counter[str] = Counter()
    kept: list[Placed] = []
    for placed in offered:
        function_id = placed.record.function_id
        least = snapshot.functions[function_id].spec.scaling.min_containers
        if snapshot.count(function_id) - taken[function_id] > least:
            taken[function_id] += 1
            kept.append(placed)
    return kept


# -- who must go ------------------------------------------------------------------------------------


def make_room(
    need: Need, asked: Resources, settled: Sequence[Room], offered: Sequence[Placed], count: int
) -> tuple[tuple[Placed, ...], list[str]]:
    """Choose who must go so that up to `count` containers fit; return them, and the worker of each that then fits."""
    taken = {room.empty.worker_id: dict(room.taken) for room in settled}
    turn = {placed.record.container_id: n for n, placed in enumerate(offered)}
    victims: dict[str, Placed] = {}
    fitting: list[str] = []
    while len(fitting) < count:
        ways: dict[tuple[int, Rank | int, str], list[Placed]] = {}
        for room in settled:
            worker_id = room.empty.worker_id
            here = [p for p in offered if p.worker_id == worker_id and p.record.container_id not in victims]
            chosen = _clear(need, room, taken[worker_id], here)
            if chosen:
                ways[len(chosen), max(turn[p.record.container_id] for p in chosen), worker_id] = chosen
            elif chosen is not None:
                host = occupied(room.empty, taken[worker_id].values())
                ways[0, rank(need, host), worker_id] = []
        if not ways:
            break
        _, _, worker_id = best = min(ways)
        for placed in ways[best]:
            victims[placed.record.container_id] = placed
            del taken[worker_id][placed.record.container_id]
        taken[worker_id][f"new {len(fitting)}"] = Taken(asked)
        fitting.append(worker_id)
    return tuple(victims.values()), fitting


def _clear(need: Need, room: Room, taken: dict[str, Taken], offered: Sequence[Placed]) -> list[Placed] | None:
    if misfit(need, room.empty):
        return None
    left = dict(taken)
    chosen: list[Placed] = []
    waiting = iter(offered)
    while misfit(need, occupied(room.empty, left.values())):
        placed = next(waiting, None)
        if placed is None:
            return None
        chosen.append(placed)
        del left[placed.record.container_id]
    for placed in chosen[:-1]:
        container_id = placed.record.container_id
        # In its place: which devices a container gets that has not said so depends on the order.
        back = {c: t for c, t in taken.items() if c in left or c == container_id}
        if misfit(need, occupied(room.empty, back.values())) is None:
            left = back
    return [placed for placed in chosen if placed.record.container_id not in left]


# -- one decision -----------------------------------------------------------------------------------


def decide(
    snapshot: Snapshot, function: FunctionRecord, backoff: Backoff, *, now: float, wall: float
) -> Decision | None:
    """Return where to start containers and who makes room for them; None when none is to be started now."""
    load = load_of(snapshot, function, snapshot.crew(function.function_id, now, wall))
    count = autoscale.to_start(function.spec.scaling, load)
    if not count or backoff.ready_at(function.function_id, now, inputs=load.backlog > 0) > now:
        return None
    count = 1 if backoff.failing(function.function_id, now) else count
    need = need_of(function.spec)
    plan = place(need, hosts(snapshot, function.function_id), count)
    if plan.never and not snapshot.may_return(need, now):
        return Decision(waiting=explain(plan), never=not load.containers and not load.leaving)
    if len(plan.workers) < count:
        alone = load.containers == load.waiting
        return _with_room_made(snapshot, function, plan, count, wall, alone=alone)
    return Decision(start_on=plan.workers)


def _with_room_made(
    snapshot: Snapshot, function: FunctionRecord, plan: Plan, count: int, wall: float, *, alone: bool
) -> Decision:
    function_id, asked = function.function_id, function.spec.resources
    need = need_of(function.spec)
    settled = rooms(snapshot, function_id, settled=True)
    evicted, fitting = make_room(need, asked, settled, idle(snapshot, function, wall), count)
    if evicted:
        plan = place(need, hosts(snapshot, function_id, leaving=_ids(evicted)), count)
    if plan.workers or not alone:
        return Decision(start_on=plan.workers, evict=evicted, short=len(plan.workers) < count)
    if fitting:
        return Decision(evict=evicted, short=True, claim=fitting[0])
    need = need._replace(first=True)
    plan = place(need, hosts(snapshot, function_id), 1)
    if plan.workers:
        return Decision(start_on=plan.workers, short=count > 1)
    evicted, fitting = make_room(need, asked, settled, idle(snapshot, function, wall, 0.0), 1)
    if fitting:
        workers = place(need, hosts(snapshot, function_id, leaving=_ids(evicted)), 1).workers
        claim = "" if workers else fitting[0]
        return Decision(start_on=workers, evict=evicted, short=True, claim=claim)
    retired, fitting = make_room(need, asked, settled, anybody(snapshot, function, wall), 1)
    claim = fitting[0] if fitting else ""
    return Decision(retire=retired, waiting=explain(plan), short=True, claim=claim)


def _ids(containers: Iterable[Placed]) -> frozenset[str]:
    return frozenset(placed.record.container_id for placed in containers)


def pack_seconds(snapshot: Snapshot) -> dict[str, float]:
    """Return the mean run time of every function of which a worker has one."""
    known: defaultdict[str, list[float]] = defaultdict(list)
    for worker in snapshot.workers.values():
        for function_id, seconds in worker.pack_seconds.items():
            known[function_id].append(seconds)
    return {function_id: fsum(seconds) / len(seconds) for function_id, seconds in known.items()}
