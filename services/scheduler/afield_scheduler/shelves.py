"""Hosts that are alike, in the order of what is taken of them. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from math import log2
from typing import Final

from afield_common.devices import choose
from afield_scheduler.order import Order
from afield_scheduler.placement import (
    OVERCOMMIT,
    Host,
    Need,
    Rank,
    closed,
    cores_taken,
    memory_taken,
    share_after,
)

_SLACK: Final = 1e-6
"""What a share may be off by, so that rounding hides no host."""

_STEPS: Final = 4
"""Kinds of hosts of each power of two of cores, or of memory."""

_NEEDS_KEPT: Final = 64
"""Needs for which it is remembered, until something changes, which shelves have room."""

Gpus = tuple[str, ...]
Size = tuple[float, int]
"""Cores, and MiB of memory."""
Kind = tuple[int, int, Gpus, tuple[str, ...], tuple[tuple[str, str], ...]]


def kind_of(host: Host) -> Kind:
    """Return what hosts have in common on which the same fits, but for small differences in size."""
    labels = tuple(sorted(host.labels.items()))
    return _scale(host.cpus), _scale(host.memory_mib), host.gpus, host.runners, labels


def _scale(amount: float) -> int:
    return round(_STEPS * log2(amount)) if amount > 0 else -(2**31)


class Lane:
    """Hosts in the order of the share that is taken of one thing."""

    def __init__(self) -> None:
        self.order: Final[Order[float]] = Order()
        self._most = 0.0
        """What no host here has more of."""
        self._alike = True
        """Whether all have the same."""

    def put(self, worker_id: str, has: float, taken: float) -> None:
        """Take in a host, or what has changed on it."""
        if len(self.order):
            self._alike = self._alike and has == self._most
            self._most = max(self._most, has)
        else:
            self._alike, self._most = True, has
        self.order.put(worker_id, taken)

    def full(self, taken: float, more: float, times: int = 1) -> bool:
        """Tell whether more of it fits on no host of which so much is taken. `times`: how often it may be promised."""
        return self._most > 0 and taken > times - more / self._most + _SLACK

    def bound(self, alternative: int, more: float, taken: float, worker_id: str) -> Rank:
        """Return what no rank is better than, of this host and all behind it."""
        if self._alike:  # then equal shares are equal loads, and come in the order of the ids
            return alternative, share_after(self._most, taken, more), worker_id
        return alternative, taken + more / self._most - _SLACK, ""


class Shelf:
    """Hosts in the order of cores and in the order of memory taken."""

    def __init__(self) -> None:
        self._cores = Lane()
        self._memory = Lane()

    def __len__(self) -> int:
        return len(self._cores.order)

    def put(self, host: Host) -> None:
        """Take in a host, or what has changed on it."""
        self._cores.put(host.worker_id, host.cpus, cores_taken(host))
        self._memory.put(host.worker_id, host.memory_mib, memory_taken(host))

    def remove(self, worker_id: str) -> None:
        """Take a host away."""
        self._cores.order.remove(worker_id)
        self._memory.order.remove(worker_id)

    def bound(self, need: Need, alternative: int) -> Rank | None:
        """Return what no rank here is better than; None if no host has room."""
        by_cores, by_memory = self._cores.order.first, self._memory.order.first
        if by_cores is None or by_memory is None:
            return None
        return self._bound(need, alternative, by_cores, by_memory)

    def walk(self, need: Need, alternative: int) -> Iterator[tuple[Rank, str]]:
        """Yield all hosts that may have room, at least once, each with a bound: no host that has not come before has a
        better rank."""
        for by_cores, by_memory in zip(self._cores.order, self._memory.order, strict=True):
            bound = self._bound(need, alternative, by_cores, by_memory)
            if bound is None:
                return
            yield bound, by_cores[1]
            yield bound, by_memory[1]

    def _bound(
        self, need: Need, alternative: int, by_cores: tuple[float, str], by_memory: tuple[float, str]
    ) -> Rank | None:
        """What no rank is better than of the hosts that have not come before these in either order.

        They have at least so much taken of both. None if none of them has room.
        """
        times = OVERCOMMIT if need.first else 1
        if self._memory.full(by_memory[0], need.memory_mib) or self._cores.full(by_cores[0], need.cpu, times):
            return None
        return max(
            self._cores.bound(alternative, need.cpu, *by_cores),
            self._memory.bound(alternative, need.memory_mib, *by_memory),
        )


class Kindred:
    """The hosts of one kind. Those that could take something are on shelves."""

    def __init__(self) -> None:
        self.by_size: defaultdict[Size, set[str]] = defaultdict(set)
        """Worker ids."""
        self.shelf = Shelf()
        """All that could take something."""
        self.by_devices: dict[Gpus, Shelf] = {}
        """The same hosts, by the devices that are free, where they have any."""
        self._sizes: dict[str, Size] = {}
        self._free: dict[str, Gpus] = {}
        self._promising: dict[Need, list[tuple[Rank, int, Shelf]]] = {}

    def put(self, host: Host) -> bool:
        """Take in a host, or what has changed on it; True if it is new, or has another size."""
        self._promising.clear()
        worker_id, size = host.worker_id, (host.cpus, host.memory_mib)
        if closed(host) or host.containers_free <= 0:
            self._take_off(worker_id)
        else:
            self.shelf.put(host)
            if host.gpus:
                self._put_by_devices(host)
        known = self._sizes.get(worker_id)
        if known != size:
            self._forget_size(worker_id)
            self._sizes[worker_id] = size
            self.by_size[size].add(worker_id)
        return known != size

    def _forget_size(self, worker_id: str) -> None:
        known = self._sizes.pop(worker_id, None)
        if known is not None:
            self.by_size[known].discard(worker_id)
            if not self.by_size[known]:
                del self.by_size[known]

    def _put_by_devices(self, host: Host) -> None:
        known = self._free.get(host.worker_id)
        if known is not None and known != host.gpus_free:
            self._take_off_devices(host.worker_id)
        self._free[host.worker_id] = host.gpus_free
        self.by_devices.setdefault(host.gpus_free, Shelf()).put(host)

    def remove(self, worker_id: str) -> None:
        """Take a host away."""
        self._promising.clear()
        self._forget_size(worker_id)
        self._take_off(worker_id)

    def _take_off(self, worker_id: str) -> None:
        self.shelf.remove(worker_id)
        self._take_off_devices(worker_id)

    def _take_off_devices(self, worker_id: str) -> None:
        free = self._free.pop(worker_id, None)
        if free is not None:
            self.by_devices[free].remove(worker_id)
            if not len(self.by_devices[free]):
                del self.by_devices[free]

    def promising(self, need: Need) -> list[tuple[Rank, int, Shelf]]:
        """Return the shelves with room, and with devices that will do.

        Each with what no rank there is better than, and with the place of its devices among those asked for.
        """
        found = self._promising.get(need)
        if found is None:
            found = [
                (bound, alternative, shelf)
                for alternative, shelf in self._with_devices(need)
                if (bound := shelf.bound(need, alternative)) is not None
            ]
            if len(self._promising) >= _NEEDS_KEPT:
                self._promising.clear()
            self._promising[need] = found
        return found

    def _with_devices(self, need: Need) -> list[tuple[int, Shelf]]:
        """The shelves that have devices which will do, each with the place of these among those asked for."""
        if not need.gpu:
            return [(0, self.shelf)]
        chosen = ((choose(gpus_free, need.gpu), shelf) for gpus_free, shelf in self.by_devices.items())
        return [(devices[0], shelf) for devices, shelf in chosen if devices is not None]
