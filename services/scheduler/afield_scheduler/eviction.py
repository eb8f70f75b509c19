"""Who makes room when a function needs a container and no host has room for it. Pure.

Idle containers of other functions go first, those idle for longest before all. Those that were busy a moment ago are
likely to be between two inputs, and only go for a function that has nobody at all. For such a function, when nobody is
idle, one of the busy ones retires: it finishes what it runs, and ends. `min_containers` of a function always stay.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from afield._wire.functions import FunctionRecord, Resources
from afield_scheduler.placement import Need, Taken, misfit, occupied
from afield_scheduler.snapshot import Placed, Room, Snapshot

QUIET_S: Final = 1.0
"""Seconds of idleness after which a container does not count as being between two inputs."""

SLICE_S: Final = 2.0
"""Seconds that the only container of a function has before it can be asked to retire: two functions that do not fit
together take turns, and not at every input."""


def idle(
    snapshot: Snapshot, function: FunctionRecord, wall: float, *, least: float = QUIET_S
) -> list[Placed]:
    """Return the containers of other functions that were idle for `least` seconds, longest first.

    `wall` is Unix time.
    """
    found = [
        placed
        for placed in _others(snapshot, function)
        if placed.record.idle_since > 0
        and not placed.record.busy
        and wall - placed.record.idle_since >= least
    ]
    found.sort(key=lambda placed: (placed.record.idle_since, placed.record.container_id))
    return _above_minimum(snapshot, found)


def anybody(snapshot: Snapshot, function: FunctionRecord, wall: float) -> list[Placed]:
    """Return the containers of other functions that could end after what they run, if anything.

    Idle ones come first, then those of the function that has most. Those that wait for calls of their own are none of
    them, as what they wait for may be what has no room; nor are those of generators, which may never end.
    """
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


def _others(snapshot: Snapshot, function: FunctionRecord) -> Iterable[Placed]:
    """The ready containers of all other functions."""
    for function_id in snapshot.functions_with_containers() & snapshot.functions.keys():
        if function_id != function.function_id:
            yield from (p for p in snapshot.containers(function_id) if p.record.state == "ready")


def _above_minimum(snapshot: Snapshot, offered: Sequence[Placed]) -> list[Placed]:
    """Take as many as leave every function its min_containers, in the order given."""
    taken: Counter[str] = Counter()
    kept: list[Placed] = []
    for placed in offered:
        function_id = placed.record.function_id
        least = snapshot.functions[function_id].spec.scaling.min_containers
        if snapshot.count(function_id) - taken[function_id] > least:
            taken[function_id] += 1
            kept.append(placed)
    return kept


def make_room(
    need: Need, asked: Resources, rooms: Sequence[Room], offered: Sequence[Placed], count: int
) -> tuple[tuple[Placed, ...], int]:
    """Choose who must go so that up to `count` containers fit; return them, and how many then fit.

    `rooms`: as they will be when all that is leaving already is gone. `offered`: best first. Each container is planned
    where the fewest must go for it, and nobody goes in vain.
    """
    taken = {room.empty.worker_id: dict(room.taken) for room in rooms}
    rank = {placed.record.container_id: n for n, placed in enumerate(offered)}
    victims: dict[str, Placed] = {}
    for number in range(count):
        ways: dict[tuple[int, int, str], list[Placed]] = {}
        for room in rooms:
            worker_id = room.empty.worker_id
            here = [p for p in offered if p.worker_id == worker_id and p.record.container_id not in victims]
            chosen = _clear(need, room, taken[worker_id], here)
            if chosen is not None:
                last = max((rank[p.record.container_id] for p in chosen), default=-1)
                ways[len(chosen), last, worker_id] = chosen
        if not ways:
            return tuple(victims.values()), number
        _, _, worker_id = best = min(ways)
        for placed in ways[best]:
            victims[placed.record.container_id] = placed
            del taken[worker_id][placed.record.container_id]
        taken[worker_id][f"new {number}"] = Taken(asked)
    return tuple(victims.values()), count


def _clear(need: Need, room: Room, taken: dict[str, Taken], offered: Sequence[Placed]) -> list[Placed] | None:
    """Return who must leave this host so that one container fits; None when that cannot be had."""
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
        back = {**left, container_id: taken[container_id]}
        if misfit(need, occupied(room.empty, back.values())) is None:
            left = back
    return [placed for placed in chosen if placed.record.container_id not in left]
