"""What this host has to give, and whether a function fits into what is left of it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from afield._wire.functions import FunctionSpec, Resources
from afield_common.devices import take
from afield_worker.gpus import Device, Gpus
from afield_worker.nvml import find_devices

_CGROUP: Final = Path("/sys/fs/cgroup")
_MIB: Final = 2**20

PER_CORE: Final = 32
"""Containers for each core, at most, unless settings say otherwise: processes cost, even when they only wait."""
LEAST_CONTAINERS: Final = 64


class Capacity(NamedTuple):
    """Cores, memory, runners and GPUs of this host."""

    cpus: float
    memory_mib: int
    runners: tuple[str, ...]
    max_containers: int
    gpus: tuple[str, ...] = ()
    """The kind of each device."""

    def refusal(self, spec: FunctionSpec, taken: Iterable[Resources], gpus_free: Sequence[str] = ()) -> str:
        """Return why no container of this function can be started now, empty if one can.

        `taken` are the reservations of the containers that are here, `gpus_free` the kinds of the devices that none of
        them has. Memory and devices are hard bounds. Cores are none, beyond those that there are: who gets how many
        of them, and who needs none for a while, the scheduler knows.
        """
        asked = spec.resources
        if spec.runner != "auto" and spec.runner not in self.runners:
            return f"it needs the runner {spec.runner!r}, this worker has {', '.join(self.runners)}"
        if spec.image:
            return f"it needs the image {spec.image}, this worker has only its own interpreter"
        if take(gpus_free, asked.gpu) is None:
            free = ", ".join(gpus_free) or "none"
            has = f"has {', '.join(self.gpus)}, of which are free: {free}" if self.gpus else "has none"
            return f"it needs a GPU ({' or '.join(asked.gpu)}), this worker {has}"
        reserved = list(taken)
        if len(reserved) >= self.max_containers:
            return f"{len(reserved)} containers are here, and no more than {self.max_containers} may be"
        if asked.cpu > self.cpus:
            return f"it reserves {asked.cpu:g} cores, there are {self.cpus:g}"
        memory = self.memory_mib - sum(each.memory_mib for each in reserved)
        if asked.memory_mib > memory:
            return f"it reserves {asked.memory_mib} MiB, {max(memory, 0)} of {self.memory_mib} are free"
        return ""


def measure(
    cpus: float,
    memory_mib: int,
    runners: tuple[str, ...],
    max_containers: int = 0,
    gpus: tuple[str, ...] = (),
) -> Capacity:
    """Return what this host has; figures other than 0 are taken as they are."""
    cores = cpus or host_cpus()
    most = max_containers or max(LEAST_CONTAINERS, int(PER_CORE * cores))
    return Capacity(cores, memory_mib or host_memory_mib(), runners, most, gpus)


def host_gpus(declared: Sequence[str] | None = None) -> Gpus:
    """Return the devices of this host: those that are declared, else those that its driver tells of. Blocks."""
    if declared is None:
        return Gpus(find_devices())
    return Gpus([Device(index, kind.upper()) for index, kind in enumerate(declared)])


def host_cpus(cgroup: Path = _CGROUP) -> float:
    """Return the cores that this process may use: by its affinity, and by the quota of its cgroup."""
    cores = float(len(os.sched_getaffinity(0)))
    text = _read(cgroup / "cpu.max").split()
    if len(text) == 2 and text[0] != "max":
        return min(cores, int(text[0]) / int(text[1]))
    return cores


def host_memory_mib(cgroup: Path = _CGROUP) -> int:
    """Return the memory of the host in MiB, or of our cgroup if that has less."""
    total = int(psutil.virtual_memory().total)
    limit = _read(cgroup / "memory.max").strip()
    if limit.isdecimal():
        total = min(total, int(limit))
    return total // _MIB


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # no cgroup v2 here: no limit of its kind
