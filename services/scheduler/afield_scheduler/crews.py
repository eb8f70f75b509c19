"""The containers of each function: those that workers report, those being started, those that were told to stop. Pure."""

from collections import Counter, defaultdict
from typing import NamedTuple

from afield._wire.functions import ContainerRecord, Resources, WorkerRecord

STOPPING_S = 10.0
"""Seconds after which a container that was told to stop, and did not, counts again."""


class Starting(NamedTuple):
    """A container that a worker was asked for and does not show yet."""

    container_id: str
    function_id: str
    worker_id: str
    resources: Resources
    since: float


class Placed(NamedTuple):
    """A container as its worker reports it."""

    worker_id: str
    record: ContainerRecord


class Crews:
    """Who is there for each function. Seconds, monotonic.

    What changes is noted by function and by worker, for those who keep sums of what is here.
    """

    def __init__(self) -> None:
        self.starting: dict[str, Starting] = {}
        """By container id, oldest first."""
        self.placed: dict[str, Placed] = {}
        """By container id."""
        self.moved: set[str] = set()
        """Functions that may have more containers, or fewer, than when this was emptied last."""
        self.stirred: set[str] = set()
        """Workers of which the containers may not be what they were when this was emptied last."""
        self.awaited: set[str] = set()
        """The same for containers that are being started there."""
        self.stopping: dict[str, float] = {}
        """Containers that were told to stop a moment ago, and when: by container id, oldest first."""
        self._ids: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """By function, the ids of its containers that are placed."""
        self._starts: defaultdict[str, dict[str, Starting]] = defaultdict(dict)
        self._coming: defaultdict[str, dict[str, Starting]] = defaultdict(dict)

    # -- what workers say ---------------------------------------------------------------------------

    def report(self, old: WorkerRecord | None, new: WorkerRecord) -> set[str]:
        """Take over the containers of a worker; return the functions that lost one, or of whose more, or fewer, wait."""
        self.stirred.add(new.worker_id)
        before = self._of(old)
        for container in new.containers:
            container_id = container.container_id
            self.placed[container_id] = Placed(new.worker_id, container)
            known = before.pop(container_id, None)
            if known is None:
                self._ids[container.function_id][container_id] = None
                self.not_starting(container_id)
            if known is None or known.record.state != container.state:
                self.moved.add(container.function_id)
            if container.busy and self.stopping.pop(container_id, None) is not None:
                self.moved.add(container.function_id)
        for placed in before.values():
            self._remove(placed)
        waited, waits = _waiting(old), _waiting(new)
        changed = {placed.record.function_id for placed in before.values()}
        return changed | {f for f in waited.keys() | waits.keys() if waited[f] != waits[f]}

    def worker_gone(self, old: WorkerRecord | None, worker_id: str) -> set[str]:
        """Forget all containers of a worker, and those on their way; return their functions."""
        self.stirred.add(worker_id)
        gone = self._of(old).values()
        for placed in gone:
            self._remove(placed)
        lost = list(self.coming(worker_id).values())
        for start in lost:
            self.not_starting(start.container_id)
        return {placed.record.function_id for placed in gone} | {start.function_id for start in lost}

    def _of(self, record: WorkerRecord | None) -> dict[str, Placed]:
        """The containers of a record that are known, less those whose end was heard of."""
        containers = record.containers if record is not None else ()
        known = self.placed
        return {c.container_id: known[c.container_id] for c in containers if c.container_id in known}

    def _remove(self, placed: Placed) -> None:
        container_id, function_id = placed.record.container_id, placed.record.function_id
        del self.placed[container_id]
        del self._ids[function_id][container_id]
        if not self._ids[function_id]:
            del self._ids[function_id]
        self.moved.add(function_id)
        self.stirred.add(placed.worker_id)

    def ended(self, container_id: str, function_id: str) -> bool:
        """Note that a container is gone, ahead of its worker's next report; False if it was not known."""
        self.stopping.pop(container_id, None)
        start, placed = self.not_starting(container_id), self.one(container_id, function_id)
        if placed is not None:
            self._remove(placed)
        return start is not None or placed is not None

    # -- what was set in motion -----------------------------------------------------------------------

    def add_start(self, start: Starting) -> None:
        """Count a container that a worker is being asked for."""
        self.starting[start.container_id] = start
        self._starts[start.function_id][start.container_id] = start
        self._coming[start.worker_id][start.container_id] = start
        self._note(start)

    def not_starting(self, container_id: str) -> Starting | None:
        """Count it no more; return it, None if it did not count."""
        start = self.starting.pop(container_id, None) if self.starting else None
        if start is not None:
            _take_out(self._starts, start.function_id, container_id)
            _take_out(self._coming, start.worker_id, container_id)
            self._note(start)
        return start

    def _note(self, start: Starting) -> None:
        self.moved.add(start.function_id)
        self.awaited.add(start.worker_id)

    def mark_stopping(self, container_id: str, now: float) -> None:
        """Count a container no more, as it was told to stop."""
        self.stopping.pop(container_id, None)  # the last to be told is the last in line
        self.stopping[container_id] = now
        self._note_stop(container_id)

    def _note_stop(self, container_id: str) -> None:
        placed = self.placed.get(container_id)
        if placed is not None:
            self.moved.add(placed.record.function_id)
            self.stirred.add(placed.worker_id)

    def expire(self, now: float, start_timeout: float) -> list[Starting]:
        """Give up on starts that were never shown, which are returned, and on stops that never happened."""
        late: list[Starting] = []
        for start in self.starting.values():
            if now - start.since < start_timeout:
                break
            late.append(start)
        for start in late:
            self.not_starting(start.container_id)
        while self.stopping:
            container_id, at = next(iter(self.stopping.items()))
            if now - at < STOPPING_S:
                break
            del self.stopping[container_id]
            self._note_stop(container_id)
        return late

    def forget_plans(self) -> None:
        """Forget what was set in motion."""
        for container_id in list(self.starting):
            self.not_starting(container_id)
        for container_id in self.stopping:
            self._note_stop(container_id)
        self.stopping.clear()

    # -- questions ----------------------------------------------------------------------------------

    def one(self, container_id: str, function_id: str) -> Placed | None:
        """Return a container of a function; None if it is not there."""
        placed = self.placed.get(container_id)
        return placed if placed is not None and placed.record.function_id == function_id else None

    def there(self, function_id: str) -> list[Placed]:
        """Return all containers of a function, leaving ones included."""
        return [self.placed[container_id] for container_id in self._ids.get(function_id, ())]

    def staying(self, function_id: str) -> list[Placed]:
        """Return the containers of a function that are not being stopped."""
        stopping, placed = self.stopping, self.placed
        return [
            there
            for container_id in self._ids.get(function_id, ())
            if (there := placed[container_id]).record.state != "stopping" and container_id not in stopping
        ]

    def number(self, function_id: str) -> int:
        """Return how many containers of a function there are, leaving ones included."""
        return len(self._ids.get(function_id, ()))

    def starts(self, function_id: str) -> dict[str, Starting]:
        """Return the starts of a function, by container id. Not to be changed."""
        return self._starts.get(function_id, {})

    def coming(self, worker_id: str) -> dict[str, Starting]:
        """Return the starts on a worker, by container id. Not to be changed."""
        return self._coming.get(worker_id, {})

    def count(self, function_id: str) -> int:
        """Return how many containers a function has or will have in a moment."""
        return len(self.starts(function_id)) + len(self.staying(function_id))


def _take_out(table: defaultdict[str, dict[str, Starting]], key: str, container_id: str) -> None:
    del table[key][container_id]
    if not table[key]:
        del table[key]


def _waiting(worker: WorkerRecord | None) -> Counter[str]:
    return Counter(c.function_id for c in worker.containers if c.waits) if worker is not None else Counter()
