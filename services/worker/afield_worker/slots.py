"""The containers of one function on this worker, and the packs that wait for them. Pure; times are monotonic."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from afield._wire.functions import FunctionRecord
from afield._wire.messages import ErrorInfo
from afield._wire.subjects import LANES, Lane
from afield_worker.container import Container, places_of
from afield_worker.held import Held

QUEUE_S: Final = 0.02
"""Seconds of work that may wait behind one container; nothing is asked for behind one that has worked for longer."""

PATIENCE_S: Final = 0.1
"""Seconds after which what waits behind a pack goes back to the stream: it is slower than its function's mean."""

MAX_AHEAD: Final = 32
"""Packs that may wait behind one container, however quick they are."""

SENT_S: Final = 0.001
"""Seconds of work that a container may have beyond the pack that it runs; one pack, if that takes no longer than QUEUE_S."""

MOST_SENT: Final = 16
"""Packs that a container may have beyond the one that it runs."""

_SMOOTHING: Final = 0.2


class Slots:
    """One function's containers here, its waiting packs, and how much more work they can take."""

    __slots__ = (
        "alone",
        "backlog",
        "broken",
        "broken_until",
        "containers",
        "deferred",
        "fetching",
        "free",
        "hi_at",
        "mean",
        "newest",
        "outstanding",
        "pulling",
        "record",
        "sent",
        "shared",
        "speaks",
        "waiting",
    )

    def __init__(self, record: FunctionRecord) -> None:
        self.renew(record)
        self.containers: dict[str, Container] = {}
        self.free: list[Container] = []
        """Ready, with room for a pack. Of those that do nothing, the last one was busy most recently, and is used first."""
        self.waiting: dict[Lane, deque[Held]] = {lane: deque() for lane in LANES}
        self.alone: deque[Held] = deque()
        """Packs that wait for a container in which nothing else runs."""
        self.fetching: dict[Held, None] = {}
        self.sent = 0
        """Packs that containers were sent before they could begin them."""
        self.speaks = False
        """Whether packs were seen to write output, which would be taken for that of another if they ran back to back."""
        self.mean: float | None = None
        """Recent mean of seconds per pack; None while unknown."""
        self.outstanding: dict[Lane, int] = dict.fromkeys(LANES, 0)
        """Deliveries asked for that have not come."""
        self.newest: dict[Lane, int] = dict.fromkeys(LANES, 0)
        """When the newest message was stored that came for the first time, Unix nanoseconds."""
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

    def renew(self, record: FunctionRecord) -> None:
        """Take over the function's record, new or changed."""
        self.record = record
        self.shared = places_of(record.spec) > 1
        """Whether packs run beside others in a container."""

    @property
    def queued(self) -> int:
        """Packs that wait for a container, or in one."""
        waiting = self.waiting
        return len(waiting["hi"]) + len(waiting["lo"]) + len(self.alone) + len(self.fetching) + self.sent

    @property
    def starting(self) -> int:
        """Packs for which there will be room when containers that start are ready."""
        return sum(c.places for c in self.containers.values() if c.phase == "starting")

    @property
    def running(self) -> int:
        """Inputs that run at this moment."""
        return sum(c.inputs_running for c in self.containers.values())

    @property
    def alive(self) -> bool:
        """Tell whether some container here will take packs."""
        return any(c.phase != "stopping" and not c.retiring for c in self.containers.values())

    def measure(self, seconds: float) -> None:
        """Take in how long a pack ran."""
        mean = self.mean
        self.mean = seconds if mean is None else mean + _SMOOTHING * (seconds - mean)

    # -- room ------------------------------------------------------------------------------------------

    def ahead(self) -> int:
        """How many packs may wait behind one container: QUEUE_S of work, none while nobody knows how long it takes.

        One that runs several at once gets through more, though nobody knows how many more.
        """
        if self.mean is None or self.record.spec.single_use:
            return 0
        return min(MAX_AHEAD, int(QUEUE_S / self.mean)) if self.mean > 0 else MAX_AHEAD

    def depth(self) -> int:
        """How many packs a container may have beyond the one that it runs: SENT_S of work, or one quick pack."""
        spec = self.record.spec
        if self.mean is None or self.mean > QUEUE_S or self.shared or self.speaks:
            return 0
        if spec.single_use or spec.is_generator:
            return 0
        return min(MOST_SENT, max(1, int(SENT_S / self.mean))) if self.mean > 0 else MOST_SENT

    def capacity(self, now: float, patience: float = PATIENCE_S) -> int:
        """How many packs may wait here: one for each free place, and those kept ahead.

        A container all of whose packs run for more than `patience` seconds promises nothing beyond its free places,
        whatever the mean, and neither does one that waits for calls of its own: it may wait for the very pack that
        would wait behind it.
        """
        ahead = self.ahead()
        total = 0
        for container in self.containers.values():
            if container.phase == "stopping" and container.verdict != "startup":
                continue  # while those who wait for one that started too slowly get its error when it is gone
            if container.retiring:
                continue
            running = container.running
            if not running:
                total += container.places + (ahead if container.phase == "ready" else 0)
                continue
            young = container.young(now, patience)
            if container.alone:
                total += young and bool(self.alone)
                continue
            total += container.places - len(running)
            if ahead and young and not (container.waits and container.waiting):
                total += ahead
        return total

    def doubtful_at(self, now: float) -> float:
        """When a container stops promising room, as what it runs takes long, at the latest: what waits may have to go then."""
        due = now + PATIENCE_S
        for container in self.containers.values():
            if container.running and container.young(now, PATIENCE_S):
                due = min(due, container.latest.since + PATIENCE_S)
        return due

    def open(self, container: Container) -> None:
        """Let a container take packs, if it can. Cheap when it does so already."""
        if container.free or container.alone or container.retiring or container.phase != "ready":
            return
        if len(container.running) < container.places:
            container.free = True
            self.free.append(container)

    def close(self, container: Container) -> None:
        """Let a container take no packs."""
        if container.free:
            container.free = False
            if self.free[-1] is container:
                self.free.pop()
            else:
                self.free.remove(container)

    def choose(self) -> Container:
        """Return the container that the next pack goes to: the least busy one. There must be one that is free."""
        best = self.free[-1]
        if best.running:
            for container in reversed(self.free):
                if len(container.running) < len(best.running):
                    best = container
        return best

    def isolate(self) -> tuple[Container, Held] | None:
        """Return a pack that must run alone, and a container for it; if none is empty, let one run out of work."""
        if not self.alone:
            return None
        ready = [c for c in self.containers.values() if c.phase == "ready" and not c.retiring]
        least = min(ready, key=lambda c: len(c.running), default=None)
        if least is None or any(c.alone for c in ready):
            return None
        self.close(least)
        least.alone = True
        return None if least.running else (least, self.alone.popleft())

    def _share(self) -> None:
        """Let containers that run out of work for packs that do not wait any more take others again."""
        if not self.alone:
            for container in self.containers.values():
                if container.alone and not any(held.suspect for held in container.running.values()):
                    container.alone = False
                    self.open(container)

    # -- deliveries asked for --------------------------------------------------------------------------

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

    def behind(self, lane: Lane, stored_ns: int) -> bool:
        """Take note of a first delivery; tell whether its message is older than one that came before.

        Consumers deliver in the order of their stream. So this one's server has forgotten deliveries: it was started
        anew, or took over from another one, and had not heard of the latest. This may be one of them.
        """
        if stored_ns < self.newest[lane]:
            return True
        self.newest[lane] = stored_ns
        return False

    def stop_pulling(self) -> None:
        """Forget what was asked for."""
        self.pulling = False
        self.outstanding = dict.fromkeys(LANES, 0)
        self.backlog = 0
        self.deferred = False

    # -- packs that wait -------------------------------------------------------------------------------

    def enqueue(self, held: Held) -> None:
        """Let a pack wait for a container."""
        if self.shared and held.suspect:
            self.alone.append(held)
        else:
            self.waiting[held.lane].append(held)

    def put_back(self, packs: Sequence[Held]) -> None:
        """Let packs wait again, before all others, in this order."""
        for held in reversed(packs):
            self.waiting[held.lane].appendleft(held)

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
        elif held in self.alone:
            self.alone.remove(held)
            self._share()
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
        while over > 0 and self.alone:  # last, as the container that is kept for them has no room for others
            gone.append(self.alone.pop())
            over -= 1
            self._share()
        return gone

    def waits(self) -> list[Held]:
        """Return the packs that wait, in the order in which they will start; last, those whose arguments are on the way."""
        return [*self.alone, *self.waiting["hi"], *self.waiting["lo"], *self.fetching]
