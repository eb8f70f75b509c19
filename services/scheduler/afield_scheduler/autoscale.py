"""How many containers a function should have. Pure functions of its settings and its load."""

from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from afield._wire.functions import FunctionSpec, Scaling

PATIENCE_S: Final = 0.1
"""Seconds of queued work that one container may be left with: starting another one must be worth it."""


class Capacity(NamedTuple):
    """Packs that one container has at the same time."""

    target: int = 1
    """What the number of containers is chosen for."""
    most: int = 1
    """What it takes when there is no other."""


ONE: Final = Capacity()


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
    """Of the containers, those that take no other pack, as all they can have waits for calls of its own."""
    warming: bool = False
    """Its first containers were asked for a moment ago, and none is up yet."""
    capacity: Capacity = ONE
    leaving: int = 0
    """Containers that were told to stop and are not gone yet; they come on top of `containers`."""


class Idle(NamedTuple):
    """A container with nothing to do since a Unix time."""

    container_id: str
    since: float


def capacity(spec: FunctionSpec) -> Capacity:
    """Return how many packs a container of a function has at the same time: mostly a pack is one input."""
    if spec.single_use:
        return ONE
    batch = spec.batching.max_batch_size if spec.batching is not None else 1
    return Capacity(spec.concurrency.target * batch, spec.concurrency.max_inputs * batch)


def desired(scaling: Scaling, load: Load) -> int:
    """Return the number of containers that the function should have.

    Containers that wait for calls of their own come on top of what the rest of the backlog needs. With unknown run time
    every `capacity` of waiting packs may need a container of its own; quick packs share few. `buffer_containers` come
    on top while there is work. Never above `max_containers`, never below `min_containers`.
    """
    wanted = _for_backlog(load) + load.waiting
    if load.backlog > 0:
        wanted += scaling.buffer_containers
    wanted = max(wanted, scaling.min_containers)
    return wanted if scaling.max_containers is None else min(wanted, scaling.max_containers)


def _for_backlog(load: Load) -> int:
    packs = load.backlog - load.waiting * load.capacity.most
    if packs <= 0:
        return 0
    if load.single_use:
        return packs
    at_once = ceil(packs / load.capacity.target)
    if load.pack_seconds is None:
        return at_once
    return max(1, min(at_once, ceil(packs * load.pack_seconds / (PATIENCE_S * load.capacity.target))))


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
    if scaling.max_containers is not None:
        # The bound is on what runs: those that were told to stop still do.
        missing = min(missing, scaling.max_containers - load.containers - load.leaving)
    return max(0, missing)


def excess(scaling: Scaling, load: Load) -> int:
    """Return how many containers there are above `max_containers`, which may have been lowered."""
    return 0 if scaling.max_containers is None else max(0, load.containers - scaling.max_containers)


def surplus(scaling: Scaling, load: Load, idle: Iterable[Idle], now: float) -> list[str]:
    """Return the ids of containers to stop: idle for the scaledown window, longest first, and not needed.

    Those above `max_containers` need not have been idle for long. `now` is Unix time. What remains is never less than
    `desired`, so nothing stopped is started again for this load.
    """
    spare = load.containers - desired(scaling, load)
    if spare <= 0:
        return []
    longest = sorted(idle, key=lambda each: (each.since, each.container_id))
    over = excess(scaling, load)
    stop = [
        each.container_id
        for n, each in enumerate(longest)
        if n < over or now - each.since >= scaling.scaledown_window
    ]
    return stop[:spare]


def next_surplus(scaling: Scaling, load: Load, idle: Iterable[Idle], now: float) -> float | None:
    """Return the seconds until a container that is idle now will be surplus; None when none will. Load as it is."""
    if load.containers <= desired(scaling, load):
        return None
    oldest = min((each.since for each in idle), default=None)
    return None if oldest is None else max(0.0, oldest + scaling.scaledown_window - now)
