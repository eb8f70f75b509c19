"""Where containers go: filter the hosts, rank them, plan. A pure function, and a deterministic one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from afield._wire.functions import FunctionSpec, Resources
from afield.exception import InvalidError
from afield_common.devices import choose, take, without

LEAST_MEMORY_MIB: Final = 8
"""Memory that a container is counted with at least, so that no host takes endlessly many that ask for nothing."""

OVERCOMMIT: Final = 4
"""How many times over the cores of a host may be promised, so that no function is left without any container."""

UNBOUNDED: Final = 2**31

MOST_TOLD: Final = 20
"""Workers whose reasons are told."""

EPSILON: Final = 1e-9
"""Cores by which a need may exceed what is free: sums of fractions are no better than that."""

Rank = tuple[int, float, str]
"""Which of the devices asked for, the load, the worker id: the smallest is best."""


class Need(NamedTuple):
    """What one container asks of its host."""

    cpu: float
    memory_mib: int
    gpu: tuple[str, ...] = ()
    runner: str = "auto"
    first: bool = False
    """Its function has nobody who could run an input: cores may be promised OVERCOMMIT times over for it."""
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What the worker must be labelled with, and the values that will do."""


class Taken(NamedTuple):
    """What one container has of its host."""

    resources: Resources
    cores: bool = True
    """Whether its cores are taken: one that waits for calls of its own, or is about to leave idle, needs none."""
    gpus: tuple[str, ...] = ()
    """The kinds of the devices that it has, where its worker has said so."""


def need_of(spec: FunctionSpec) -> Need:
    """Return what one container of a function asks for."""
    asked = spec.resources
    memory = max(asked.memory_mib, LEAST_MEMORY_MIB)
    return Need(asked.cpu, memory, asked.gpu, spec.runner, labels=tuple(spec.labels.items()))


@dataclass(frozen=True, kw_only=True)
class Host:
    """A worker's host: what it has, and what of it is free."""

    worker_id: str
    cpus: float
    memory_mib: int
    gpus: tuple[str, ...] = ()
    runners: tuple[str, ...] = ("process",)
    labels: Mapping[str, str] = field(default_factory=dict)
    draining: bool = False
    stalled: str = ""
    """What keeps its worker from pulling."""
    refused: str = ""
    """Why its worker refused this function a moment ago."""
    cpus_free: float
    memory_free: int
    gpus_free: tuple[str, ...] = ()
    containers_free: int = UNBOUNDED
    """How many more containers it takes, whatever they reserve."""

    def with_container(self, need: Need) -> "Host":
        """Return the host with one more container on it."""
        devices = take(self.gpus_free, need.gpu) or ()
        return replace(
            self,
            cpus_free=self.cpus_free - need.cpu,
            memory_free=self.memory_free - need.memory_mib,
            gpus_free=without(self.gpus_free, devices),
            containers_free=self.containers_free - 1,
        )


def occupied(host: Host, containers: Iterable[Taken]) -> Host:
    """Return the host with these containers on it. Called for every decision, hence the plain sums."""
    cpu, memory, devices, number = 0.0, 0, host.gpus_free, 0
    for resources, cores, gpus in containers:
        number += 1
        if cores:
            cpu += resources.cpu
        memory += max(resources.memory_mib, LEAST_MEMORY_MIB)
        if resources.gpu:
            devices = without(devices, gpus or take(devices, resources.gpu) or ())
    return replace(
        host,
        cpus_free=host.cpus_free - cpu,
        memory_free=host.memory_free - memory,
        gpus_free=devices,
        containers_free=host.containers_free - number,
    )


class Misfit(NamedTuple):
    """Why a host does not take a container; `never` says that waiting does not help."""

    reason: str
    never: bool


class Plan(NamedTuple):
    """Where to start containers, one worker id each, and why not more."""

    workers: tuple[str, ...]
    misfits: dict[str, Misfit]
    """By worker id; empty when everything fits."""
    never: bool = False
    """Whether there are hosts, and none can ever take the container that did not fit."""
    others: int = 0
    """Hosts that `misfits` does not tell of."""


class Lack(NamedTuple):
    """What a host would need more of for one more container, each 0 or less where there is enough."""

    cpus: float
    memory_mib: int
    containers: int

    @property
    def none(self) -> bool:
        """Whether there is enough of everything."""
        return enough(self.cpus, self.memory_mib, self.containers)


def enough(cpus: float, memory_mib: int, containers: int) -> bool:
    """Tell whether so much that is missing means that nothing is."""
    return memory_mib <= 0 and cpus <= EPSILON and containers <= 0


def lack(need: Need, host: Host) -> Lack:
    """Return what is missing on a host, devices apart."""
    extra = (OVERCOMMIT - 1) * host.cpus if need.first else 0.0
    return Lack(
        need.cpu - host.cpus_free - extra, need.memory_mib - host.memory_free, 1 - host.containers_free
    )


def misfit(need: Need, host: Host) -> Misfit | None:
    """Return why a host cannot take one more container; None when it can."""
    return never(need, host) or _not_now(need, host)


def never(need: Need, host: Host) -> Misfit | None:
    """Return why a host could not even take a container if nothing else was on it; None when it could."""
    if need.runner not in ("auto", *host.runners):
        return Misfit(f"has no runner {need.runner!r} (it has {', '.join(host.runners) or 'none'})", True)
    if need.cpu > host.cpus + EPSILON:
        return Misfit(f"has {host.cpus:g} cores, {need.cpu:g} are asked for", True)
    if need.memory_mib > host.memory_mib:
        return Misfit(f"has {host.memory_mib} MiB of memory, {need.memory_mib} are asked for", True)
    for label, values in need.labels:
        if host.labels.get(label) not in values:
            has = f"is labelled {label}={host.labels[label]}" if label in host.labels else f"has no {label}"
            return Misfit(f"{has}, {' or '.join(values)} is asked for", True)
    try:
        fitting = take(host.gpus, need.gpu)
    except InvalidError as error:
        return Misfit(str(error), True)
    if fitting is None:
        has = ", ".join(host.gpus) or "no GPU"
        return Misfit(f"has {has}, {' or '.join(need.gpu)} is asked for", True)
    return None


def closed(host: Host) -> Misfit | None:
    """Return why a host takes no container of the function now, however small; None when it may."""
    if host.draining:
        return Misfit("is being drained", False)
    if host.stalled:
        return Misfit(f"does not pull: {host.stalled}", False)
    if host.refused:
        return Misfit(f"refused: {host.refused}", False)
    return None


def _not_now(need: Need, host: Host) -> Misfit | None:
    shut = closed(host)
    if shut is not None:
        return shut
    cpus, memory_mib, containers = lack(need, host)
    if cpus > EPSILON:
        return Misfit(f"has {max(0.0, host.cpus_free):g} of {host.cpus:g} cores free", False)
    if memory_mib > 0:
        return Misfit(f"has {max(0, host.memory_free)} of {host.memory_mib} MiB free", False)
    if containers > 0:
        return Misfit("has as many containers as it takes", False)
    if take(host.gpus_free, need.gpu) is None:
        return Misfit("has all fitting GPUs in use", False)
    return None


def place(need: Need, hosts: Iterable[Host], count: int) -> Plan:
    """Return where to start up to `count` containers.

    Each goes to a host that has the device preferred most, of those to the one that is least loaded afterwards; ties go
    to the smaller worker id. The same arguments always give the same plan.
    """
    state = {host.worker_id: host for host in hosts}
    misfits = {host.worker_id: misfit(need, host) for host in state.values()}
    ranks = [rank(need, host) for host in state.values() if misfits[host.worker_id] is None]
    heapify(ranks)
    chosen: list[str] = []
    while len(chosen) < count and ranks:
        worker_id = heappop(ranks)[2]
        chosen.append(worker_id)
        host = state[worker_id] = state[worker_id].with_container(need)
        misfits[worker_id] = misfit(need, host)
        if misfits[worker_id] is None:
            heappush(ranks, rank(need, host))
    if len(chosen) == count:
        return Plan(tuple(chosen), {})
    told = {worker_id: why for worker_id, why in misfits.items() if why is not None}
    return Plan(tuple(chosen), told, never=bool(told) and all(why.never for why in told.values()))


def ever(need: Need, host: Host) -> bool:
    """Tell whether a host could take a container if nothing else was on it."""
    return never(need, host) is None


def rank(need: Need, host: Host) -> Rank:
    """Return how well a host takes one more container that fits."""
    chosen = choose(host.gpus_free, need.gpu) if need.gpu else None
    cores = share_after(host.cpus, cores_taken(host), need.cpu)
    memory = share_after(host.memory_mib, memory_taken(host), need.memory_mib)
    return (chosen[0] if chosen else 0, max(cores, memory), host.worker_id)


def cores_taken(host: Host) -> float:
    """Return the share of the cores that is taken."""
    return _taken(host.cpus, host.cpus_free)


def memory_taken(host: Host) -> float:
    """Return the share of the memory that is taken."""
    return _taken(host.memory_mib, host.memory_free)


def _taken(has: float, free: float) -> float:
    return round(1 - free / has, 9) if has else 0.0  # equal loads are equal, whatever they are the sum of


def share_after(has: float, taken: float, more: float) -> float:
    """Return the share that is taken of something when more of it is. What there is nothing of is all taken."""
    return round(taken + more / has, 12) if has else 1.0


def explain(plan: Plan) -> str:
    """Say in one sentence why no (more) container can be started, worker by worker."""
    if not plan.misfits:
        return "no worker is there"
    start = "no worker can run it" if plan.never else "no worker has room now"
    reasons = [f"{worker} {misfit.reason}" for worker, misfit in sorted(plan.misfits.items())[:MOST_TOLD]]
    others = len(plan.misfits) - len(reasons) + plan.others
    more = f"; and {others:,} more" if others else ""
    return f"{start}: {'; '.join(reasons)}{more}"
