"""Fleets of any size for the scheduler's core, as records: workers with their containers, functions with their needs.

The same size always gives the same fleet. Containers are of all sizes, one in a hundred functions wants a device, one in
twenty keeps some containers for ever, and the hosts are of several kinds.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from afield._wire.functions import (
    CodeRef,
    ContainerRecord,
    FunctionRecord,
    FunctionSpec,
    Resources,
    Scaling,
    WorkerRecord,
)
from afield_scheduler.crews import Starting

WALL: Final = 1_700_000_000.0
"""Unix time of the model."""

SECONDS_PER_PACK: Final = 5.0
"""So long that every pack is worth a container."""

Load = Literal["room", "cores", "memory", "idle"]
"""Hosts with half of their room free; all cores taken, by busy containers; all memory, by busy ones; all memory, and
every third container idle."""

_SIZES: Final = (
    (60, Resources(cpu=0.125, memory_mib=128)),
    (24, Resources(cpu=0.5, memory_mib=512)),
    (11, Resources(cpu=1.0, memory_mib=1024)),
    (4, Resources(cpu=4.0, memory_mib=8192)),
    (1, Resources(cpu=1.0, memory_mib=4096, gpu=("H100", "A100"))),
)
_SMALLEST: Final = _SIZES[0][1]
_HOSTS: Final = (0.75, 0.96, 1.29)
"""Sizes of hosts, as multiples of the mean one."""
_HOSTS_HAVE: Final[dict[Load, tuple[int, int]]] = {
    "room": (2, 2),
    "cores": (1, 2),
    "memory": (2, 1),
    "idle": (2, 1),
}
"""Times the cores, and the memory, of what the containers of a mean host take."""
_REGIONS: Final = ("eu", "us", "asia")
_DEVICES: Final = 8


class Size(NamedTuple):
    """How much there is of everything."""

    workers: int
    functions: int
    containers: int


class Model:
    """A fleet of one size under one load. Some functions beyond `size.functions` have no container at all."""

    def __init__(self, size: Size, load: Load, *, newcomers: int = 0) -> None:
        self.size = size
        self.load = load
        self._random = random.Random(size.workers)
        self.functions = [self._function(number) for number in range(size.functions + newcomers)]
        self._fillers = [f for f in self.functions[: size.functions] if f.spec.resources == _SMALLEST]
        each = size.containers / size.workers
        total = sum(weight for weight, _ in _SIZES)
        self._cores = each * sum(weight * r.cpu for weight, r in _SIZES) / total
        self._memory = each * sum(weight * r.memory_mib for weight, r in _SIZES) / total
        """What the containers of a mean host take."""

    @property
    def newcomers(self) -> Sequence[FunctionRecord]:
        """Functions that nobody has asked for anything yet."""
        return self.functions[self.size.functions :]

    def _function(self, number: int) -> FunctionRecord:
        choice = self._random.choices([asked for _, asked in _SIZES], [weight for weight, _ in _SIZES])[0]
        kept = self._random.randrange(1, 4) if number % 20 == 7 else 0
        labels = {"region": self._random.sample(_REGIONS, 2)} if number % 10 == 3 else {}
        spec = FunctionSpec(
            name=f"function_{number}",
            code=CodeRef(module="model", qualname=f"function_{number}"),
            resources=choice,
            scaling=Scaling(min_containers=kept),
            labels={label: tuple(values) for label, values in labels.items()},
        )
        return FunctionRecord(
            function_id=f"fu-{number:016d}",
            app_id=f"ap-{number // 10:016d}",
            app_name=f"app-{number // 10}",
            ws="main",
            shard=0,
            spec=spec,
        )

    # -- workers ------------------------------------------------------------------------------------

    def workers(self) -> Iterator[WorkerRecord]:
        """Yield the record of each worker. There are about as many containers as the size says."""
        for number in range(self.size.workers):
            yield self._worker(number)

    def _worker(self, number: int) -> WorkerRecord:
        scale = _HOSTS[number % len(_HOSTS)]
        # Whole multiples of what the smallest containers take, so that these can fill whatever is left.
        cores, memory = 8 * int(self._cores * scale / 8), 1024 * int(self._memory * scale / 1024)
        more_cores, more_memory = _HOSTS_HAVE[self.load]
        devices = _DEVICES if number % 10 == 0 else 0
        if self.load == "room":
            chosen = self._filling(cores, memory, devices)
        else:
            chosen = self._filling(cores * more_cores, memory * more_memory, devices)
        containers = tuple(self._container(number, n, f) for n, f in enumerate(chosen))
        return WorkerRecord(
            worker_id=f"wk-{number:016d}",
            host=f"host-{number}",
            pid=100,
            started_at=WALL - 86400,
            cpus=cores * more_cores,
            memory_mib=memory * more_memory,
            runners=("process", "bubblewrap"),
            labels={"region": _REGIONS[number // 3 % len(_REGIONS)]},
            gpus=("H100" if number % 20 else "A100",) * devices,
            containers=containers,
            pack_seconds={f.function_id: SECONDS_PER_PACK for f in chosen},
            inputs_running={c.function_id: 1 for c in containers if c.busy},
        )

    def _filling(self, cores: float, memory: int, devices: int) -> list[FunctionRecord]:
        """Choose whose containers are on a host, until nothing more fits, or, where there is to be room, until enough."""
        chosen: list[FunctionRecord] = []
        known = self.functions[: self.size.functions]
        filling = False
        while True:
            function = self._random.choice(self._fillers if filling else known)
            asked = function.spec.resources
            if asked.cpu > cores or asked.memory_mib > memory:
                if filling or self.load == "room":
                    return chosen
                filling = True
            elif not asked.gpu or devices:
                chosen.append(function)
                cores, memory, devices = (
                    cores - asked.cpu,
                    memory - asked.memory_mib,
                    devices - bool(asked.gpu),
                )

    def _container(self, worker: int, number: int, function: FunctionRecord) -> ContainerRecord:
        idle = self.load == "idle" and self._random.random() < 1 / 3
        device = ("H100" if worker % 20 else "A100",) if function.spec.resources.gpu else ()
        return ContainerRecord(
            container_id=f"ta-{worker:08d}{number:08d}",
            function_id=function.function_id,
            app_id=function.app_id,
            state="ready",
            pid=1000 + number,
            started_at=WALL - self._random.uniform(10, 3600),
            resources=function.spec.resources,
            busy=0 if idle else 1,
            idle_since=WALL - self._random.uniform(0, 60) if idle else 0.0,
            function=function.spec.name,
            gpus=device,
        )

    def started(self, start: Starting) -> ContainerRecord:
        """Return a container that a worker was asked for, as the worker reports it when it is up."""
        function = self.functions[int(start.function_id.removeprefix("fu-"))]
        return ContainerRecord(
            container_id=start.container_id,
            function_id=start.function_id,
            app_id=function.app_id,
            state="ready",
            pid=1,
            started_at=WALL,
            resources=start.resources,
            busy=1,
            function=function.spec.name,
            gpus=("H100",) if start.resources.gpu else (),
        )

    def later(self, record: WorkerRecord) -> WorkerRecord:
        """Return the next report of a worker: one container in ten has something to do now, or nothing any more."""
        return replace(record, containers=tuple(self._turned(c) for c in record.containers))

    def _turned(self, container: ContainerRecord) -> ContainerRecord:
        if self.load in ("cores", "memory") or self._random.random() < 0.9:
            return container
        if container.busy:
            return replace(container, busy=0, idle_since=WALL)
        return replace(container, busy=1, idle_since=0.0)
