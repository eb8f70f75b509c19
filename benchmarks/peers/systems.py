"""Who is measured: afield, the systems that a user would pick instead, and the limit."""

from dataclasses import dataclass
from typing import Final

_PROGRAMS: Final = "benchmarks.peers.programs"


@dataclass(frozen=True, kw_only=True)
class System:
    """One column of the table. `ours`: its program runs in the project's environment, else in that of the peers."""

    name: str
    title: str
    module: str
    ours: bool = False

    @property
    def program(self) -> str:
        """Return the full name of the module that measures it."""
        return f"{_PROGRAMS}.{self.module}"


BASE: Final = "afield"
"""Whom all others are compared with."""

SYSTEMS: Final = (
    System(name=BASE, title="afield", module="afield_functions", ours=True),
    System(name="ray-tasks", title="Ray tasks", module="ray_tasks"),
    System(name="ray-actors", title="Ray actors", module="ray_actors"),
    System(name="dask", title="Dask distributed", module="dask_cluster"),
    System(name="celery", title="Celery, Redis", module="celery_redis"),
    System(name="taskiq", title="Taskiq, NATS", module="taskiq_jetstream"),
    System(name="bare", title="bare NATS", module="bare_bus", ours=True),
)


def chosen_systems(names: list[str]) -> tuple[System, ...]:
    """Return the systems with these names, in the table's order; all for none. Raises ValueError for an unknown name."""
    known = [system.name for system in SYSTEMS]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"there is no peer {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(system for system in SYSTEMS if not names or system.name in names)
