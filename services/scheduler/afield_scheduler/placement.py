"""Where containers go: filter the hosts, rank them, plan. A pure function, and a deterministic one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

_EPSILON: Final = 1e-9


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

    @property
    def never(self) -> bool:
        """Whether no present host can ever take the container that did not fit."""
        return bool(self.misfits) and all(misfit.never for misfit in self.misfits.values())


def misfit(need: Need, host: Host) -> Misfit | None:
    """Return why a host cannot take one more container; None when it can."""
    return _never(need, host) or _not_now(need, host)


def _never(need: Need, host: Host) -> Misfit | None:
    if need.runner not in ("auto", *host.runners):
        return Misfit(f"has no runner {need.runner!r} (it has {', '.join(host.runners) or 'none'})", True)
    if need.cpu > host.cpus + _EPSILON:
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


def _not_now(need: Need, host: Host) -> Misfit | None:
    if host.draining:
        return Misfit("is being drained", False)
    if host.stalled:
        return Misfit(f"does not pull: {host.stalled}", False)
    if host.refused:
        return Misfit(f"refused: {host.refused}", False)
    extra = (OVERCOMMIT - 1) * host.cpus if need.first else 0.0
    if need.cpu > host.cpus_free + extra + _EPSILON:
        return Misfit(f"has {max(0.0, host.cpus_free):g} of {host.cpus:g} cores free", False)
    if need.memory_mib > host.memory_free:
        return Misfit(f"has {max(0, host.memory_free)} of {host.memory_mib} MiB free", False)
    if host.containers_free <= 0:
        return Misfit("has as many containers as it takes", False)
    if take(host.gpus_free, need.gpu) is None:
        return Misfit("has all fitting GPUs in use", False)
    return None


def place(need: Need, hosts: Sequence[Host], count: int) -> Plan:
    """Return where to start up to `count` containers.

    Each goes to a host that has the device preferred most, of those to the one that is least loaded afterwards; ties go
    to the smaller worker id. The same arguments always give the same plan.
    """
    state = {host.worker_id: host for host in hosts}
    misfits = {host.worker_id: misfit(need, host) for host in hosts}
    ranks = {host.worker_id: _rank(need, host) for host in hosts if misfits[host.worker_id] is None}
    chosen: list[str] = []
    while len(chosen) < count and ranks:
        best = min(ranks, key=ranks.__getitem__)
        chosen.append(best)
        host = state[best] = state[best].with_container(need)
        misfits[best] = misfit(need, host)
        if misfits[best] is None:
            ranks[best] = _rank(need, host)
        else:
            del ranks[best]
    if len(chosen) == count:
        return Plan(tuple(chosen), {})
    return Plan(tuple(chosen), {worker_id: why for worker_id, why in misfits.items() if why is not None})


def ever(need: Need, host: Host) -> bool:
    """Tell whether a host could take a container if nothing else was on it."""
    return _never(need, host) is None


def _rank(need: Need, host: Host) -> tuple[int, float, str]:
    chosen = choose(host.gpus_free, need.gpu) if need.gpu else None
    return (chosen[0] if chosen else 0, _load_after(need, host), host.worker_id)


def _load_after(need: Need, host: Host) -> float:
    """The busier of cores and memory, as a share, with one more container."""
    cores = 1 - (host.cpus_free - need.cpu) / host.cpus if host.cpus else 1.0
    memory = 1 - (host.memory_free - need.memory_mib) / host.memory_mib if host.memory_mib else 1.0
    return round(max(cores, memory), 9)


def explain(plan: Plan) -> str:
    """Say in one sentence why no (more) container can be started, worker by worker."""
    if not plan.misfits:
        return "no worker is there"
    start = "no worker can run it" if plan.never else "no worker has room now"
    reasons = [f"{worker} {misfit.reason}" for worker, misfit in sorted(plan.misfits.items())]
    more = f"; and {len(reasons) - MOST_TOLD:,} more" if len(reasons) > MOST_TOLD else ""
    return f"{start}: {'; '.join(reasons[:MOST_TOLD])}{more}"
