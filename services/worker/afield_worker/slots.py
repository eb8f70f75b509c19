"""The containers of one function on this worker, and the packs that wait for them. Pure; times are monotonic."""

from collections import deque
from math import inf
from typing import Final, Literal

from afield._wire.functions import FunctionRecord
from afield._wire.messages import ErrorInfo
from afield._wire.subjects import LANES, Lane
from afield_worker.held import Held
from afield_worker.states import ContainerEvent, ContainerPhase, next_container

QUEUE_S: Final = 0.02
"""Seconds of work that may wait behind one container; nothing is asked for behind one that has worked for longer."""

PATIENCE_S: Final = 0.1
"""Seconds after which what waits behind a pack goes back to the stream: it is slower than its function's mean."""

MAX_AHEAD: Final = 32
"""Packs that may wait behind one container, however quick they are."""

_SMOOTHING: Final = 0.2

Verdict = Literal["", "timeout", "cancel", "stop", "startup"]
"""Why this worker interrupted or killed a container, or is about to."""


class Container:
    """One container: its phase, the pack that it runs, and until when it may."""

    __slots__ = (
        "deadline",
        "function",
        "id",
        "idle_since",
        "killed",
        "phase",
        "pid",
        "retiring",
        "running",
        "since",
        "verdict",
        "version",
        "waits",
    )

    def __init__(self, container_id: str, function: "Slots", now: float) -> None:
        self.id = container_id
        self.function = function
        self.version = function.record.version
        """Of the function; one of an older version ends after what it runs."""
        self.phase: ContainerPhase = "starting"
        self.pid = 0
        self.since = now
        self.running: Held | None = None
        self.idle_since = inf
        """When it ran out of work; infinity while it works or starts."""
        self.deadline = now + function.record.spec.startup_timeout
        """When its patience is over, for what it does now; infinity while idle."""
        self.verdict: Verdict = ""
        self.killed = False
        self.retiring = False
        """Whether it ends after what it runs."""
        self.waits: set[str] = set()
        """The clients inside it that wait for calls of their own, while it runs a pack."""

    def advance(self, event: ContainerEvent) -> None:
        """Change the phase. Raises TransitionError, and changes nothing, when the event does not fit."""
        self.phase = next_container(self.phase, event)


class Slots:
    """One function's containers here, its waiting packs, and how much more work they can take."""

    __slots__ = (
        "backlog",
        "broken",
        "broken_until",
        "containers",
        "deferred",
        "fetching",
        "hi_at",
        "idle",
        "mean",
        "outstanding",
        "pulling",
        "record",
        "waiting",
    )

    def __init__(self, record: FunctionRecord) -> None:
        self.record = record
        self.containers: dict[str, Container] = {}
        self.idle: list[Container] = []
        """Ready and without work; the last one was busy most recently, and is used first."""
        self.waiting: dict[Lane, deque[Held]] = {lane: deque() for lane in LANES}
        self.fetching: dict[Held, None] = {}
        self.mean: float | None = None
        """Recent mean of seconds per pack; None while unknown."""
        self.outstanding: dict[Lane, int] = dict.fromkeys(LANES, 0)
        """Deliveries asked for that have not come."""
        self.backlog = 0
        """Messages that `hi` still held for anybody when its last delivery left it."""
        self.hi_at = 0.0
        """When `hi` last delivered, or was asked after a pause."""
        self.deferred = False
        """Whether `lo` was asked for less than the room, for the sake of `hi`."""
        self.pulling = False
        self.broken: ErrorInfo | None = None
        """Why the last container could not be made ready."""
        self.broken_until = 0.0

    @property
    def queued(self) -> int:
        """Packs that wait for a container."""
        return len(self.waiting["hi"]) + len(self.waiting["lo"]) + len(self.fetching)

    @property
    def starting(self) -> int:
        """Containers that are not ready yet."""
        return sum(c.phase == "starting" for c in self.containers.values())

    @property
    def alive(self) -> bool:
        """Tell whether some container here will take packs."""
        return any(c.phase != "stopping" and not c.retiring for c in self.containers.values())

    def measure(self, seconds: float) -> None:
        """Take in how long a pack ran."""
        mean = self.mean
        self.mean = seconds if mean is None else mean + _SMOOTHING * (seconds - mean)

    def ahead(self) -> int:
        """How many packs may wait behind one container: QUEUE_S of work, none while nobody knows how long it takes."""
        if self.mean is None or self.record.spec.single_use:
            return 0
        return min(MAX_AHEAD, int(QUEUE_S / self.mean)) if self.mean > 0 else MAX_AHEAD

    def capacity(self, now: float, patience: float = PATIENCE_S) -> int:
        """How many packs may wait here: one for each container that can take it, and those kept ahead.

        A container whose pack runs for more than `patience` seconds promises nothing, whatever the mean, and neither
        does one that waits for calls of its own: it may wait for the very pack that would wait behind it.
        """
        ahead = self.ahead()
        total = 0
        for container in self.containers.values():
            if container.phase == "stopping" and container.verdict != "startup":
                continue  # while those who wait for one that started too slowly get its error when it is gone
            if container.retiring:
                continue
            running = container.running
            if running is None:
                total += 1 + (ahead if container.phase == "ready" else 0)
            elif now - running.since < patience and not container.waits:
                total += ahead
        return total

    def wants(self, now: float) -> list[tuple[Lane, int]]:
        """Return the deliveries to ask for, lane by lane, and count them as asked for.

        Both lanes are asked for the whole room, since nobody knows which one will deliver; but while `hi` is known
        to hold a backlog, `lo` gets what that leaves (and `deferred` says so). Asking again waits until half has
        come, to save requests.
        """
        self.deferred = False
        room = self.capacity(now, QUEUE_S) - self.queued
        asked: list[tuple[Lane, int]] = []
        for lane in LANES:
            if room <= 0:
                break
            have = self.outstanding[lane]
            if have * 2 <= room:
                asked.append((lane, room - have))
                self.outstanding[lane] = room
                if lane == "hi" and not have:
                    self.hi_at = now
            if lane == "hi" and self._hi_backlog(now):
                self.deferred = True
                room -= self.backlog
        return asked

    def _hi_backlog(self, now: float) -> bool:
        """Tell whether `hi` still has what it had: if others had not taken it, we would have got it at once."""
        if self.backlog and self.outstanding["hi"] and now - self.hi_at >= QUEUE_S:
            self.backlog = 0
        return self.backlog > 0

    def arrived(self, lane: Lane, pending: int, now: float) -> None:
        """Note that a delivery came, and how many the stream has left."""
        if self.outstanding[lane] > 0:
            self.outstanding[lane] -= 1
        if lane == "hi":
            self.backlog = pending
            self.hi_at = now

    def enqueue(self, held: Held, *, front: bool = False) -> None:
        """Let a pack wait for a container."""
        queue = self.waiting[held.lane]
        if front:
            queue.appendleft(held)
        else:
            queue.append(held)

    def take(self) -> Held | None:
        """Remove and return the pack that is next: `hi` before `lo`, oldest first."""
        for lane in LANES:
            if self.waiting[lane]:
                return self.waiting[lane].popleft()
        return None

    def drop(self, held: Held) -> None:
        """Remove a pack that waits."""
        if held in self.fetching:
            del self.fetching[held]
        else:
            self.waiting[held.lane].remove(held)

    def excess(self, now: float) -> list[Held]:
        """Remove and return the packs that cannot start soon: `lo` before `hi`, newest first."""
        over = self.queued - self.capacity(now)
        gone: list[Held] = []
        for lane in reversed(LANES):
            while over > 0 and self.waiting[lane]:
                gone.append(self.waiting[lane].pop())
                over -= 1
                if lane == "hi":
                    self.backlog = max(self.backlog, 1)
        while over > 0 and self.fetching:
            gone.append(self.fetching.popitem()[0])
            over -= 1
        return gone

    def waits(self) -> list[Held]:
        """Return the packs that wait, in the order in which they will start; last, those whose arguments are on the way."""
        return [*self.waiting["hi"], *self.waiting["lo"], *self.fetching]

    def stop_pulling(self) -> None:
        """Forget what was asked for."""
        self.pulling = False
        self.outstanding = dict.fromkeys(LANES, 0)
        self.backlog = 0
        self.deferred = False
