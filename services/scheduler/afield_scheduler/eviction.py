"""Who makes room when a function needs a container and no host has room for it. Pure.

Idle containers of other functions go first, those idle for longest before all. Those that were busy a moment ago are
likely to be between two inputs, and only go for a function that has nobody at all. For such a function, when nobody is
idle, one of the busy ones retires: it finishes what it runs, and ends. `min_containers` of a function always stay.
Who is offered is `offers.py`, who of them must go is decided here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from heapq import heappop, heappush
from typing import Final, NamedTuple

from afield._wire.functions import Resources
from afield_common.devices import take
from afield_scheduler.crews import Placed
from afield_scheduler.offers import Offers, Turn
from afield_scheduler.placement import (
    LEAST_MEMORY_MIB,
    Host,
    Need,
    Taken,
    closed,
    enough,
    lack,
    never,
    occupied,
    rank,
)
from afield_scheduler.view import View

LOOKED_AT: Final = 100
"""Containers that are looked at, host by host, before the best way known is taken: a decision is to take less than 1 ms."""


class Way(NamedTuple):
    """How room for one container is made on a host. The smallest is best: nobody goes, or few, or those whose turn it is."""

    number: int
    turn: Turn
    """Of the last one who must go; the rank of the host if nobody must."""
    worker_id: str
    chosen: tuple[Placed, ...]


def make_room(
    need: Need, asked: Resources, view: View, offers: Offers, count: int
) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """Choose who must go so that up to `count` containers fit; return them, and the worker of each that then fits.

    What is leaving already counts as gone. Each container is planned where the fewest must go for it, and nobody goes in
    vain. Where there is a way, no more than LOOKED_AT containers, and the rest of their host, are looked at for it.
    """
    clearing = _Clearing(need, asked, view, offers, count)
    ways: list[Way] = []
    while len(ways) < count and (way := clearing.best()) is not None:
        ways.append(way)
        if len(ways) < count:
            clearing.go(way)
    return tuple(placed for way in ways for placed in way.chosen), tuple(way.worker_id for way in ways)


class _Clearing:
    """Hosts with the best way for each, found one by one: most hosts can be told not to have the best of all."""

    def __init__(self, need: Need, asked: Resources, view: View, offers: Offers, count: int) -> None:
        self._need = need
        self._asked: Final = Taken(asked)
        self._view = view
        self._offers = offers
        self._ways: list[Way] = []
        self._gone: defaultdict[str, set[str]] = defaultdict(set)
        """By worker id, the containers that must go for what was planned already."""
        self._come: Counter[str] = Counter()
        """By worker id, the containers that were planned."""
        for host in view.settled(need, count):  # if there are more, nobody need go anyway
            heappush(self._ways, Way(0, rank(need, host), host.worker_id, ()))
        self._looked_at = {way.worker_id for way in self._ways}
        self._hosts = offers.hosts(need)
        self._next = next(self._hosts, None)

    def best(self) -> Way | None:
        """Take the best way; None if there is none."""
        looked_at = 0
        while self._next is not None and not self._is_best(looked_at):
            worker_id = self._next[1]
            self._next = next(self._hosts, None)
            if worker_id not in self._looked_at:
                self._looked_at.add(worker_id)
                self._look_at(worker_id)
                looked_at += self._offers.number(worker_id)
        return heappop(self._ways) if self._ways else None

    def _is_best(self, looked_at: int) -> bool:
        """Tell whether the best way known need not be compared with those of the hosts to come."""
        if not self._ways or self._next is None:
            return False
        return looked_at >= LOOKED_AT or self._ways[0][:2] <= (1, self._next[0])

    def go(self, way: Way) -> None:
        """Plan one container, and see what the way for another one is on that host."""
        self._gone[way.worker_id].update(placed.record.container_id for placed in way.chosen)
        self._come[way.worker_id] += 1
        self._look_at(way.worker_id)

    def _look_at(self, worker_id: str) -> None:
        host = self._host(worker_id)
        if closed(host) or never(self._need, host):
            return
        trial = _Trial(self._need, host, lambda out: self._devices(worker_id, out))
        way = Way(0, rank(self._need, host), worker_id, ()) if trial.fits else self._way(trial, worker_id)
        if way is not None:
            heappush(self._ways, way)

    def _host(self, worker_id: str) -> Host:
        """A host without those that go, and with those that come."""
        ledger, gone = self._view.ledger, self._gone.get(worker_id)
        host = ledger.anew(worker_id, gone=gone).settled if gone else ledger[worker_id].settled
        return occupied(self._view.seen(host), [self._asked] * self._come[worker_id])

    def _devices(self, worker_id: str, out: set[str]) -> tuple[str, ...]:
        """The devices that are free on a host without some more containers."""
        gone = self._gone[worker_id] | out
        account = self._view.ledger[worker_id]
        left = [taken for container_id, taken in account.holders if container_id not in gone]
        left += self._view.promised(worker_id)
        left += [self._asked] * self._come[worker_id]
        return occupied(replace(account.settled, gpus_free=account.settled.gpus), left).gpus_free

    def _way(self, trial: "_Trial", worker_id: str) -> Way | None:
        """Take containers out in turn until there is room, then put back those that need not go."""
        turn: Turn = ()
        gone, offered = self._gone[worker_id], self._offers.on(worker_id)
        while not trial.fits:
            turn, placed = next(offered, (turn, None))
            if placed is None:
                return None
            if placed.record.container_id not in gone:
                trial.take_out(placed)
        must = trial.must_go()
        return Way(len(must), turn, worker_id, must)


class _Out(NamedTuple):
    """A container that was taken out, and what it takes."""

    placed: Placed
    cpus: float
    memory_mib: int


class _Trial:
    """What is missing on a host for one more container, while others are taken out, and put back."""

    def __init__(self, need: Need, host: Host, devices: Callable[[set[str]], tuple[str, ...]]) -> None:
        """`devices` returns those that are free without some containers, by their ids."""
        self._wants: Final = need.gpu
        self._cpus, self._memory_mib, self._containers = lack(need, host)
        self._find_devices = devices
        self._has_devices = take(host.gpus_free, need.gpu) is not None
        self._out: list[_Out] = []

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self._has_devices and enough(self._cpus, self._memory_mib, self._containers)

    def take_out(self, placed: Placed) -> None:
        """See what is missing without a container."""
        asked = placed.record.resources
        cpus = 0.0 if placed.record.waits else asked.cpu
        out = _Out(placed, cpus, max(asked.memory_mib, LEAST_MEMORY_MIB))
        self._out.append(out)
        self._cpus -= out.cpus
        self._memory_mib -= out.memory_mib
        self._containers -= 1
        if self._wants and asked.gpu:
            self._has_devices = self._devices_do(self._out)

    def must_go(self) -> tuple[Placed, ...]:
        """Put back, one after the other, those without whom there is room all the same; return the others.

        The last one was needed, so it is one of them.
        """
        must: list[_Out] = []
        for number, out in enumerate(self._out[:-1], start=1):
            holds = self._wants and out.placed.record.resources.gpu
            if self._can_stay(out) and not (holds and not self._devices_do((*must, *self._out[number:]))):
                self._cpus += out.cpus
                self._memory_mib += out.memory_mib
                self._containers += 1
            else:
                must.append(out)
        return tuple(out.placed for out in (*must, *self._out[-1:]))

    def _can_stay(self, out: _Out) -> bool:
        return enough(self._cpus + out.cpus, self._memory_mib + out.memory_mib, self._containers + 1)

    def _devices_do(self, outs: Iterable[_Out]) -> bool:
        """Tell whether the devices will do that are free without some containers."""
        free = self._find_devices({out.placed.record.container_id for out in outs})
        return take(free, self._wants) is not None
