"""How many containers a function should have. Pure functions of its settings and its load."""

from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from afield._wire.functions import Scaling

PATIENCE_S: Final = 0.1
"""Seconds of queued work that one container may be left with: starting another one must be worth it."""


class Load(NamedTuple):
    """What a function has to do, and who is there to do it."""

    backlog: int
    """Packs that wait or run."""
    containers: int
    """Containers that live or are being started."""
    pack_seconds: float | None = None
    """The recent mean of seconds per pack; None while nothing has run yet."""
    single_use: bool = False
    """A container takes one input only."""
    waiting: int = 0
    """Of the containers, those that wait for calls of their own. Each has one pack of the backlog, and takes no other."""
    warming: bool = False
    """Its first containers were asked for a moment ago, and none is up yet."""


class Idle(NamedTuple):
    """A container with nothing to do since a Unix time."""

    container_id: str
    since: float


def desired(scaling: Scaling, load: Load) -> int:
    """Return the number of containers that the function should have.

    Containers that wait for calls of their own come on top of what the rest of the backlog needs. With unknown run time every waiting pack may need a container of its own; quick packs share few. Never above
    `max_containers`, never below `min_containers`; `buffer_containers` come on top while there is work.
    """
    wanted = _for_backlog(load)
    if wanted:
        wanted += scaling.buffer_containers
    wanted = max(wanted + load.waiting, scaling.min_containers)
    return wanted if scaling.max_containers is None else min(wanted, scaling.max_containers)


def _for_backlog(load: Load) -> int:
    packs = load.backlog - load.waiting
    if packs <= 0:
        return 0
    if load.single_use or load.pack_seconds is None:
        return packs
    return max(1, min(packs, ceil(packs * load.pack_seconds / PATIENCE_S)))


def to_start(scaling: Scaling, load: Load) -> int:
    """Return how many containers to start now.

    While the run time is unknown their number at most doubles from one look to the next, and does not grow before the
    first one is up (unless that takes long): the first results of a quick function arrive within a look or two, and
    spare the host a crowd of containers with nothing to do.
    """
    missing = desired(scaling, load) - load.containers
    if load.pack_seconds is None and not load.single_use:
        step = 0 if load.warming and load.containers else max(1, load.containers)
        missing = min(missing, max(step, scaling.min_containers - load.containers))
    return max(0, missing)


def surplus(scaling: Scaling, load: Load, idle: Iterable[Idle], now: float) -> list[str]:
    """Return the ids of containers to stop: idle for the scaledown window, longest first, and not needed.

    `now` is Unix time. What remains is never less than `desired`, so nothing stopped is started again for this load.
    """
    spare = load.containers - desired(scaling, load)
    expired = [each for each in idle if now - each.since >= scaling.scaledown_window]
    expired.sort(key=lambda each: (each.since, each.container_id))
    return [each.container_id for each in expired[: max(0, spare)]]
