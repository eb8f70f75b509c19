"""What the containers of one host take: what is free now, and what will be when some of them are gone. Pure."""

from collections.abc import Collection, Mapping
from math import inf
from typing import Final, NamedTuple

from afield._wire.functions import WorkerRecord
from afield_scheduler.crews import Crews, Placed
from afield_scheduler.placement import UNBOUNDED, Host, Taken, occupied


class Standing(NamedTuple):
    """What is to be known of a function that has containers, to tell who could make room."""

    share: int
    """How many containers it has, negative: the largest function comes first."""
    oldest: float
    """Unix time at which the oldest of them started."""
    spare: bool
    """Whether it could do with fewer of them."""
    endless: bool
    """Whether what runs in them may never end."""


NO_STANDING: Final = Standing(0, inf, spare=False, endless=False)


class Account(NamedTuple):
    """A host in four states, and who could go. Containers that are not there yet are none of it."""

    now: Host
    """As it stands. Containers that were told to stop have their memory until they are gone, but no core."""
    settled: Host
    """As if all that was told to stop were gone."""
    cleared: Host
    """As if all that is idle and may go were gone, too."""
    vacated: Host
    """As if all that is busy and may go after what it runs were gone, too."""
    ready: tuple[Placed, ...]
    """Containers that are up and were not told to stop."""
    idle: tuple[Placed, ...]
    """Of these, those that are idle and may go, longest idle first."""
    holders: tuple[tuple[str, Taken], ...]
    """Containers that hold devices and were not told to stop, with their ids."""


def empty(worker: WorkerRecord) -> Host:
    """Return a worker's host with nothing on it."""
    return Host(
        worker_id=worker.worker_id,
        cpus=worker.cpus,
        memory_mib=worker.memory_mib,
        gpus=worker.gpus,
        runners=worker.runners,
        labels=worker.labels,
        draining=worker.draining,
        stalled=worker.stalled,
        cpus_free=worker.cpus,
        memory_free=worker.memory_mib,
        gpus_free=worker.gpus,
        containers_free=worker.max_containers or UNBOUNDED,
    )


def account_of(
    worker: WorkerRecord,
    crews: Crews,
    standings: Mapping[str, Standing],
    *,
    told: Collection[str] = (),
    gone: Collection[str] = (),
) -> Account:
    """Return what is taken of a worker's host. Called for every report, hence the names that save a look-up.

    `standings`: of the functions that are known. `told`: ids of containers to count as told to stop; `gone`: as gone.
    """
    stay: list[Taken] = []
    could_retire: list[Taken] = []
    could_go: list[Taken] = []
    leave: list[Taken] = []
    ready: list[Placed] = []
    idle: list[Placed] = []
    holders: list[tuple[str, Taken]] = []
    known, stopping = crews.placed, crews.stopping
    for container in worker.containers:
        container_id, busy, state = container.container_id, container.busy, container.state
        placed = known.get(container_id)
        if placed is None or container_id in gone:
            continue  # of one that is not there the end was heard of ahead of the report
        leaves = state == "stopping" or container_id in stopping or container_id in told
        cores = not (container.waits or (leaves and not busy))
        taken = Taken(container.resources, cores, container.gpus)
        if leaves:
            leave.append(taken)
            continue
        if taken.resources.gpu:
            holders.append((container_id, taken))
        if state != "ready":
            stay.append(taken)
            continue
        ready.append(placed)
        standing = standings.get(container.function_id, NO_STANDING)
        if container.waits or not standing.spare or (busy and standing.endless):
            stay.append(taken)
        elif busy:
            could_retire.append(taken)
        else:
            could_go.append(taken)
            if container.idle_since > 0:
                idle.append(placed)
    idle.sort(key=lambda each: (each.record.idle_since, each.record.container_id))
    vacated = occupied(empty(worker), stay)
    cleared = occupied(vacated, could_retire) if could_retire else vacated
    settled = occupied(cleared, could_go) if could_go else cleared
    now = occupied(settled, leave) if leave else settled
    return Account(now, settled, cleared, vacated, tuple(ready), tuple(idle), tuple(holders))
