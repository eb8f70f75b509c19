"""The hosts as they stand, found by what is free on them instead of being looked at one by one. Pure."""

from bisect import bisect_left, insort
from collections.abc import Callable, Container
from functools import lru_cache
from operator import itemgetter
from typing import Final

from afield_scheduler.placement import Host, Need, Rank, ever, misfit, rank
from afield_scheduler.shelves import Kind, Kindred, Shelf, kind_of

_NEEDS_KEPT: Final = 1024
"""Needs for which it is remembered what kinds of hosts could ever run them."""


class Hosts:
    """Hosts by worker id."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        self._ids: list[str] = []
        self._kinds: dict[Kind, Kindred] = {}
        self._homes: dict[str, Kind] = {}
        self._able = lru_cache(_NEEDS_KEPT)(self._find_able)
        """Good until a host comes, goes, or has another size."""
        self._promising = lru_cache(_NEEDS_KEPT)(self._find_promising)
        """Good until anything changes."""

    def __len__(self) -> int:
        return len(self._hosts)

    def __contains__(self, worker_id: str) -> bool:
        return worker_id in self._hosts

    def __getitem__(self, worker_id: str) -> Host:
        return self._hosts[worker_id]

    def ids(self, most: int | None = None) -> list[str]:
        """Return the smallest worker ids, `most` of them, or all."""
        return self._ids[:most]

    def put(self, host: Host) -> None:
        """Take in a host, or what has changed on it."""
        self._promising.cache_clear()
        worker_id = host.worker_id
        if worker_id not in self._hosts:
            insort(self._ids, worker_id)
        self._hosts[worker_id] = host
        kind, known = kind_of(host), self._homes.get(worker_id)
        if known is not None and known != kind:
            self._leave(worker_id)
        self._homes[worker_id] = kind
        if self._kinds.setdefault(kind, Kindred()).put(host):
            self._able.cache_clear()

    def remove(self, worker_id: str) -> None:
        """Forget a host, if it is there."""
        self._promising.cache_clear()
        if self._hosts.pop(worker_id, None) is not None:
            del self._ids[bisect_left(self._ids, worker_id)]
            self._leave(worker_id)

    def _leave(self, worker_id: str) -> None:
        kind = self._homes.pop(worker_id)
        self._kinds[kind].remove(worker_id)
        if not self._kinds[kind].by_size:
            del self._kinds[kind]
        self._able.cache_clear()

    # -- questions --------------------------------------------------------------------------------

    def never(self, need: Need) -> bool:
        """Tell whether there are hosts, and none could ever run a container, even if nothing else was on it."""
        return bool(self._hosts) and not self._able(need)

    def _find_able(self, need: Need) -> list[Kindred]:
        """The kinds of which some host could run a container if nothing else was on it."""
        return [
            kindred
            for kindred in self._kinds.values()
            if any(ever(need, self._hosts[next(iter(ids))]) for ids in kindred.by_size.values())
        ]

    def _find_promising(self, need: Need) -> list[tuple[Rank, int, Shelf]]:
        """The shelves with room and the right devices, best first: see Kindred.promising."""
        found = [each for kindred in self._able(need) for each in kindred.promising(need)]
        return sorted(found, key=itemgetter(0))

    def best(
        self, need: Need, count: int, seen: Callable[[Host], Host], without: Container[str] = ()
    ) -> list[Host]:
        """Return the hosts that have room for one more container, as `seen`: the `count` best of them, best first.

        `seen`: what a host is for who asks, with no more free than here. `without`: the hosts not to look at.
        """
        found: list[tuple[Rank, Host]] = []
        looked_at: set[str] = set()
        for least, alternative, shelf in self._promising(need):
            if len(found) == count and least >= found[-1][0]:
                break
            for bound, worker_id in shelf.walk(need, alternative):
                if len(found) == count and bound >= found[-1][0]:
                    break
                if worker_id in looked_at or worker_id in without:
                    continue
                looked_at.add(worker_id)
                host = seen(self._hosts[worker_id])
                if misfit(need, host) is None:
                    insort(found, (rank(need, host), host), key=lambda each: each[0])
                    del found[count:]
        return [host for _, host in found]
