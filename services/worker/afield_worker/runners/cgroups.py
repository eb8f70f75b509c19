"""Control groups of containers: what enforces their limits where the worker may make groups."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from afield._cgroups import Base, Claim
from afield._guest.processes import descendants
from afield._wire.functions import Resources

_PERIOD_US: Final = 100_000
"""Microseconds over which the processor time of a container is limited."""
_LEAST_QUOTA_US: Final = 1_000
_CORE_WEIGHT: Final = {1: 1024, 2: 100}
"""What stands for one core, per version: what a group has that asks for nothing."""
_WEIGHTS: Final = {1: (2, 262_144), 2: (1, 10_000)}
"""The least and the largest that there are."""


class Limits(NamedTuple):
    """What a container is given of its host."""

    cpus: float
    """Cores reserved: its weight when there is not enough for all."""
    cpu_limit: float | None = None
    memory_mib: int | None = None
    """The most memory."""

    @classmethod
    def of(cls, resources: Resources) -> "Limits":
        """Return those of a function's containers."""
        return cls(resources.cpu, resources.cpu_limit, resources.memory_limit_mib)


class Setting(NamedTuple):
    """A value for a file of a group."""

    file: str
    value: str
    optional: bool = False
    """Whether it does not matter if there is no such file."""


class Group:
    """The groups of one container, one for each controller. All methods block, but for a moment only."""

    def __init__(self, parts: dict[str, Base]) -> None:
        self.parts = parts
        self._event: int | None = None

    def add_tree(self, pid: int) -> None:
        """Put a process and all that descend from it into it. Raises OSError."""
        done: set[int] = set()
        # Again, for children that were born while their parent was not in it yet.
        while new := set(descendants([pid])) - done:
            for each in new:
                self._add(each)
            done |= new

    def oom_kills(self) -> int:
        """Return how many of its processes the kernel has killed for its limit."""
        if "memory" not in self.parts:
            return 0
        version, folder = self.parts["memory"]
        return _field(folder / ("memory.oom_control" if version == 1 else "memory.events"), "oom_kill")

    def peak_kib(self) -> int:
        """Return the most memory that it has held; 0 if that is not known. Files that it wrote count until it is full."""
        if "memory" not in self.parts:
            return 0
        version, folder = self.parts["memory"]
        text = _read(folder / ("memory.max_usage_in_bytes" if version == 1 else "memory.peak"))
        return int(text) // 1024 if text.strip().isdecimal() else 0

    def cpu_s(self) -> float:
        """Return the seconds of processor time of all its processes, ended ones included; 0 if that is not known."""
        version, folder = self.parts.get("cpu", (1, Path()))
        return _field(folder / "cpu.stat", "usage_usec") / 1e6 if version == 2 else 0.0

    def watch(self, on_oom: Callable[[], None]) -> None:
        """Have `on_oom` called on this loop when the kernel kills one of its processes, which may not be the leader.

        Version 2 kills them all at once, and so needs none of this.
        """
        version, folder = self.parts.get("memory", (2, Path()))
        if version != 1:
            return
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        control = os.open(folder / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _write(folder / "cgroup.event_control", f"{self._event} {control}")
        finally:
            os.close(control)

        def told() -> None:
            # It comes before the kill that is counted, so there is nothing to look at yet.
            assert self._event is not None
            os.eventfd_read(self._event)
            on_oom()

        asyncio.get_running_loop().add_reader(self._event, told)

    def unwatch(self) -> None:
        """Watch no more."""
        if self._event is not None:
            asyncio.get_running_loop().remove_reader(self._event)
            os.close(self._event)
            self._event = None

    def remove(self) -> None:
        """Remove it. One that still has processes stays until its worker ends."""
        for folder in self._folders():
            try:
                folder.rmdir()
            except OSError:
                pass

    def _add(self, pid: int) -> None:
        for folder in self._folders():
            try:
                _write(folder / "cgroup.procs", str(pid))
            except ProcessLookupError:
                pass  # ended meanwhile

    def _folders(self) -> set[Path]:
        return {base.folder for base in self.parts.values()}


class Groups:
    """Makes groups below those that a worker has claimed."""

    def __init__(self, claim: Claim, cores: int) -> None:
        self._claim = claim
        for version, folder in claim.bases.values():
            # All containers together against the rest of the host: as one process for each core.
            for setting in _weight(version, cores) if _has(claim, "cpu", folder) else ():
                _apply(folder, setting._replace(optional=True))

    def mechanism(self, controller: str) -> str:
        """Return what enforces limits, `cgroup v1` or `cgroup v2`; empty if this does not."""
        base = self._claim.bases.get(controller)
        return f"cgroup v{base.version}" if base else ""

    def create(self, name: str, limits: Limits) -> Group:
        """Make the groups that these limits need; processors are weighted always. Blocks; raises OSError."""
        wanted = {"cpu", *(["memory"] if limits.memory_mib is not None else [])}
        parts = {
            controller: Base(base.version, base.folder / name)
            for controller, base in self._claim.bases.items()
            if controller in wanted
        }
        group = Group(parts)
        try:
            for folder in group._folders():
                folder.mkdir(exist_ok=True)
            for controller, base in parts.items():
                for setting in settings(controller, base.version, limits):
                    _apply(base.folder, setting)
        except OSError:
            group.remove()
            raise
        return group


def settings(controller: str, version: int, limits: Limits) -> list[Setting]:
    """Return what to write into a group, in order."""
    if controller == "cpu":
        return [*_weight(version, limits.cpus), *_quota(version, limits.cpu_limit)]
    size = str((limits.memory_mib or 0) * 2**20)
    if version == 1:
        # With swap it would be twice as much; the file is there only where swap is accounted.
        return [
            Setting("memory.limit_in_bytes", size),
            Setting("memory.memsw.limit_in_bytes", size, optional=True),
        ]
    return [
        Setting("memory.max", size),
        Setting("memory.swap.max", "0", optional=True),
        Setting("memory.oom.group", "1", optional=True),
    ]


def _weight(version: int, cores: float) -> list[Setting]:
    least, largest = _WEIGHTS[version]
    weight = min(largest, max(least, round(cores * _CORE_WEIGHT[version])))
    return [Setting("cpu.shares" if version == 1 else "cpu.weight", str(weight))]


def _quota(version: int, cores: float | None) -> list[Setting]:
    if cores is None:
        return []
    quota = max(_LEAST_QUOTA_US, round(cores * _PERIOD_US))
    if version == 2:
        return [Setting("cpu.max", f"{quota} {_PERIOD_US}")]
    return [Setting("cpu.cfs_period_us", str(_PERIOD_US)), Setting("cpu.cfs_quota_us", str(quota))]


def _has(claim: Claim, controller: str, folder: Path) -> bool:
    base = claim.bases.get(controller)
    return base is not None and base.folder == folder


def _apply(folder: Path, setting: Setting) -> None:
    try:
        _write(folder / setting.file, setting.value)
    except OSError:
        if not setting.optional:
            raise


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # an older kernel does not have it


def _field(path: Path, name: str) -> int:
    """Return the number behind `name`, 0 if there is none."""
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
