"""Which containers of other functions could make room, in what order. Pure.

They are asked for host by host, and the hosts by who of theirs comes first, so that nobody sorts what is never needed.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop
from itertools import tee, zip_longest
from math import inf
from typing import Final, Protocol

from afield._wire.functions import FunctionRecord
from afield_scheduler.crews import Placed
from afield_scheduler.placement import Need, lack
from afield_scheduler.snapshot import Snapshot
from afield_scheduler.view import View

QUIET_S: Final = 1.0
"""Seconds of idleness after which a container does not count as being between two inputs."""

SLICE_S: Final = 2.0
"""Seconds that the only container of a function has before it can be asked to retire: two functions that do not fit
together take turns, and not at every input."""

MOST_HOSTS: Final = 8
"""Hosts where nobody busy need go that are compared at most: each is as good as any other."""

Turn = tuple[float | str, ...]
"""When a container's turn to make room is: the smallest is first. All turns of one kind of offer can be compared."""


class Offers(Protocol):
    """Containers that could make room."""

    def number(self, worker_id: str) -> int:
        """Return how many containers there are to look at on a host."""

    def on(self, worker_id: str) -> Iterator[tuple[Turn, Placed]]:
        """Yield those on a host, in the order of their turns."""

    def hosts(self, need: Need) -> Iterator[tuple[Turn, str]]:
        """Yield the hosts that may get room for a need, at least once, each with a turn: of those that are yet to come
        none gets room by a container whose turn is before that."""


class _Above:
    """Sees to it that every function keeps its min_containers: only the first ones of the rest may go."""

    def __init__(
        self,
        snapshot: Snapshot,
        offered: Callable[[Iterable[Placed]], list[tuple[Turn, Placed]]],
    ) -> None:
        """`offered` returns which of some containers could go otherwise."""
        self._snapshot = snapshot
        self._offered = offered
        self._first: dict[str, set[str]] = {}

    def may_go(self, placed: Placed) -> bool:
        """Tell whether a container that is offered may go."""
        function_id = placed.record.function_id
        least = self._snapshot.functions[function_id].spec.scaling.min_containers
        if not least:
            return True
        if function_id not in self._first:
            offered = sorted(self._offered(self._snapshot.containers(function_id)))
            number = max(0, self._snapshot.count(function_id) - least)
            self._first[function_id] = {placed.record.container_id for _, placed in offered[:number]}
        return placed.record.container_id in self._first[function_id]


class Idle:
    """Those that were idle for some time, longest first."""

    def __init__(
        self,
        snapshot: Snapshot,
        function: FunctionRecord,
        view: View,
        wall: float,
        *,
        least: float = QUIET_S,
    ) -> None:
        """`least`: seconds; `wall` is Unix time."""
        self._ledger = view.ledger
        self._view = view
        self._asks = function.function_id
        self._wall = wall
        self._least = least
        self._above = _Above(snapshot, self._offered)

    def _offered(self, containers: Iterable[Placed]) -> list[tuple[Turn, Placed]]:
        """Those of some containers that are idle, with their turns."""
        return [
            ((placed.record.idle_since, placed.record.container_id), placed)
            for placed in containers
            if placed.record.state == "ready"
            and not placed.record.busy
            and placed.record.idle_since > 0
            and self._wall - placed.record.idle_since >= self._least
        ]

    def number(self, worker_id: str) -> int:
        """See Offers."""
        return len(self._ledger[worker_id].idle)

    def on(self, worker_id: str) -> Iterator[tuple[Turn, Placed]]:
        """See Offers."""
        for placed in self._ledger[worker_id].idle:
            container = placed.record
            if self._wall - container.idle_since < self._least:
                return  # and those that follow were idle for less
            if container.function_id != self._asks and self._above.may_go(placed):
                yield (container.idle_since, container.container_id), placed

    def hosts(self, need: Need) -> Iterator[tuple[Turn, str]]:
        """See Offers."""
        if not self._view.cleared(need, 1):
            return
        for (since, container_id), worker_id in self._ledger.idle:
            if self._wall - since < self._least:
                return
            if lack(need, self._ledger[worker_id].cleared).none:
                yield (since, container_id), worker_id


class Anybody:
    """Those that could end after what they run, if anything.

    Idle ones come first, then those of the function that has most. Those that wait for calls of their own are none of
    them, as what they wait for may be what has no room; nor are those of generators, which may never end.
    """

    def __init__(self, snapshot: Snapshot, function: FunctionRecord, view: View, wall: float) -> None:
        """`wall` is Unix time."""
        self._snapshot = snapshot
        self._ledger = view.ledger
        self._view = view
        self._asks = function.function_id
        self._wall = wall
        self._above = _Above(snapshot, self._offered)

    def _offered(self, containers: Iterable[Placed]) -> list[tuple[Turn, Placed]]:
        """Those of some containers that could end, with their turns, in no order."""
        standings, asks, young = self._ledger.standings, self._asks, self._wall - SLICE_S
        found: list[tuple[Turn, Placed]] = []
        for placed in containers:
            container = placed.record
            standing = standings.get(container.function_id)
            if standing is None or container.state != "ready" or container.function_id == asks:
                continue
            share, endless = standing.share, standing.endless
            started_at, busy = container.started_at, container.busy > 0
            if not busy or not (container.waits or endless or (share == -1 and started_at > young)):
                found.append(((busy, share, started_at, container.container_id), placed))
        return found

    def number(self, worker_id: str) -> int:
        """See Offers."""
        return len(self._ledger[worker_id].ready)

    def on(self, worker_id: str) -> Iterator[tuple[Turn, Placed]]:
        """See Offers."""
        found = self._offered(self._ledger[worker_id].ready)
        heapify(found)
        while found:
            turn, placed = heappop(found)
            if self._above.may_go(placed):
                yield turn, placed

    def hosts(self, need: Need) -> Iterator[tuple[Turn, str]]:
        """See Offers."""
        vacated = self._view.vacated(need, MOST_HOSTS)
        if len(vacated) < MOST_HOSTS:
            yield from (((False,), host.worker_id) for host in vacated)
            return
        for host in self._view.cleared(need, MOST_HOSTS):
            yield (False,), host.worker_id
        # On all others somebody busy must go.
        shares, following = tee(self._ledger.shares)
        next(following, None)
        for (_, function_id), after in zip_longest(shares, following):
            next_turn: Turn = (True, after[0].share, after[0].oldest) if after is not None else (True, inf)
            for turn, placed in sorted(self._offered(self._snapshot.containers(function_id))):
                if lack(need, self._ledger[placed.worker_id].vacated).none:
                    yield min(turn, next_turn), placed.worker_id
