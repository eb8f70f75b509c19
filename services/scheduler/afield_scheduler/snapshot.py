"""What the scheduler knows: functions, workers with their containers, starts under way, backlogs.

Pure: everything comes in through methods, with the time passed in (seconds, monotonic). Decisions are made on this
alone, so a wake-up needs no request to anybody.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import NamedTuple

from afield._wire.functions import ContainerRecord, FunctionRecord, Resources, WorkerRecord
from afield_scheduler.placement import UNBOUNDED, Host, Taken, occupied

STOPPING_S = 10.0
"""Seconds after which a container that was told to stop, and did not, counts again."""

AVOID_S = 2.0
"""Seconds that a worker's refusal of a function counts, unless its record changes earlier."""


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


class Claim(NamedTuple):
    """Room on a host that is being made for a function: those that come later keep off."""

    worker_id: str
    resources: Resources
    since: float


class Room(NamedTuple):
    """A host and what is taken of it, by container id."""

    empty: Host
    taken: dict[str, Taken]

    def host(self) -> Host:
        """Return the host as it stands."""
        return occupied(self.empty, self.taken.values())


class _Refused(NamedTuple):
    reason: str
    at: float


class Snapshot:
    """The state of the fleet as last heard."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionRecord] = {}
        self.workers: dict[str, WorkerRecord] = {}
        self.starting: dict[str, Starting] = {}
        self.backlog: dict[str, int] = {}
        """Function id to packs that wait or run, as last looked up."""
        self._claims: dict[str, Claim] = {}
        self._containers: defaultdict[str, dict[str, Placed]] = defaultdict(dict)
        self._stopping: dict[str, float] = {}
        self._refused: dict[tuple[str, str], _Refused] = {}

    # -- functions --------------------------------------------------------------------------------

    def put_function(self, record: FunctionRecord) -> None:
        """Take over a function, new or changed."""
        self.functions[record.function_id] = record

    def remove_function(self, function_id: str) -> FunctionRecord | None:
        """Forget a function; return what was known of it."""
        self.backlog.pop(function_id, None)
        self._claims.pop(function_id, None)
        return self.functions.pop(function_id, None)

    # -- workers and containers -------------------------------------------------------------------

    def put_worker(self, record: WorkerRecord) -> set[str]:
        """Take over a worker's report; return the functions to look at again.

        Those are the ones that lost a container since the last report, or of whose containers more, or fewer, wait.
        """
        old = self.workers.get(record.worker_id)
        before = self._drop_containers(record.worker_id)
        for container in record.containers:
            placed = Placed(record.worker_id, container)
            self._containers[container.function_id][container.container_id] = placed
            self.starting.pop(container.container_id, None)
            if container.busy:
                self._stopping.pop(container.container_id, None)
        self.workers[record.worker_id] = record
        self._refused = {key: why for key, why in self._refused.items() if key[1] != record.worker_id}
        lost = {f for f, ids in before.items() if not ids <= self._containers.get(f, {}).keys()}
        waited, waits = _waiting(old), _waiting(record)
        return lost | {f for f in waited.keys() | waits.keys() if waited[f] != waits[f]}

    def remove_worker(self, worker_id: str) -> set[str]:
        """Forget a worker that died; return the functions that had containers there, or on their way."""
        touched = set(self._drop_containers(worker_id))
        self.workers.pop(worker_id, None)
        for start in [s for s in self.starting.values() if s.worker_id == worker_id]:
            touched.add(start.function_id)
            del self.starting[start.container_id]
        return touched

    def _drop_containers(self, worker_id: str) -> dict[str, set[str]]:
        """Take a worker's containers out; return their ids by function."""
        dropped: defaultdict[str, set[str]] = defaultdict(set)
        old = self.workers.get(worker_id)
        for container in old.containers if old else ():
            known = self._containers.get(container.function_id, {})
            if known.pop(container.container_id, None) is not None:
                dropped[container.function_id].add(container.container_id)
                if not known:
                    del self._containers[container.function_id]
        return dropped

    def ended(self, container_id: str, function_id: str) -> bool:
        """Note that a container is gone, ahead of its worker's next report; False if it was not known."""
        self._stopping.pop(container_id, None)
        start = self.starting.pop(container_id, None)
        placed = self._containers.get(function_id, {}).pop(container_id, None)
        return start is not None or placed is not None

    # -- what the scheduler itself set in motion ----------------------------------------------------

    def add_start(self, start: Starting) -> None:
        """Count a container that a worker is being asked for."""
        self.starting[start.container_id] = start

    def start_refused(self, start: Starting, reason: str, now: float) -> None:
        """Count it no more, and spare the worker for a while."""
        self.starting.pop(start.container_id, None)
        self._refused[start.function_id, start.worker_id] = _Refused(reason, now)

    def mark_stopping(self, container_id: str, now: float) -> None:
        """Count a container no more, as it was told to stop."""
        self._stopping[container_id] = now

    def claim(self, function_id: str, worker_id: str, resources: Resources, now: float) -> None:
        """Keep the room that is being made for a function on a worker free for it; an empty id gives the claim up.

        A claim is as old as the function's first one since it last gave up, wherever that was.
        """
        known = self._claims.pop(function_id, None)
        if worker_id:
            since = known.since if known is not None else now
            self._claims[function_id] = Claim(worker_id, resources, since)

    def forget_plans(self) -> None:
        """Forget what was set in motion: somebody else leads now."""
        self._claims.clear()
        self.starting.clear()
        self._stopping.clear()
        self._refused.clear()

    def expire(self, now: float, start_timeout: float) -> set[str]:
        """Give up on starts that were never shown and stops that never happened; return the functions concerned."""
        late = [s for s in self.starting.values() if now - s.since >= start_timeout]
        for start in late:
            del self.starting[start.container_id]
        self._stopping = {c: at for c, at in self._stopping.items() if now - at < STOPPING_S}
        self._refused = {k: why for k, why in self._refused.items() if now - why.at < AVOID_S}
        return {start.function_id for start in late}

    # -- questions --------------------------------------------------------------------------------

    def containers(self, function_id: str) -> list[Placed]:
        """Return the containers of a function that are not being stopped."""
        return [
            placed
            for container_id, placed in self._containers.get(function_id, {}).items()
            if container_id not in self._stopping and placed.record.state != "stopping"
        ]

    def count(self, function_id: str) -> int:
        """Return how many containers a function has or will have in a moment."""
        coming = sum(1 for start in self.starting.values() if start.function_id == function_id)
        return coming + len(self.containers(function_id))

    def is_ready(self, container_id: str, function_id: str) -> bool:
        """Tell whether a container is ready, as far as its worker has reported."""
        placed = self._containers.get(function_id, {}).get(container_id)
        return placed is not None and placed.record.state == "ready"

    def strays(self) -> list[Placed]:
        """Return containers whose function is not known."""
        return [
            placed
            for function_id, containers in self._containers.items()
            if function_id not in self.functions
            for placed in containers.values()
        ]

    def functions_with_containers(self) -> set[str]:
        """Return the functions that have containers, or will have in a moment."""
        return {f for f, placed in self._containers.items() if placed} | {
            s.function_id for s in self.starting.values()
        }

    def pack_seconds(self, function_id: str) -> float | None:
        """Return the recent mean of seconds per pack over all workers that ran some."""
        known = [w.pack_seconds[function_id] for w in self.workers.values() if function_id in w.pack_seconds]
        return sum(known) / len(known) if known else None

    def waiting(self, function_id: str) -> int:
        """Return how many containers of a function wait for calls of their own: no input will get to run there."""
        return sum(placed.record.waits for placed in self.containers(function_id))

    def warming(self, function_id: str, now: float, wall: float) -> float | None:
        """Return the seconds since the first container of a function was asked for; None when it has none, or one is up.

        `now` is monotonic, `wall` is Unix time.
        """
        placed = self.containers(function_id)
        if any(each.record.state == "ready" for each in placed):
            return None
        ages = [wall - each.record.started_at for each in placed]
        ages += [now - start.since for start in self.starting.values() if start.function_id == function_id]
        return max(ages, default=None)

    def hosts(self, function_id: str, *, leaving: Collection[str] = ()) -> list[Host]:
        """Return the hosts as they stand for one more container of a function.

        Containers that were told to stop, and those in `leaving`, have their memory until they are gone, but no core.
        """
        return [room.host() for room in self.rooms(function_id, leaving=leaving)]

    def rooms(self, function_id: str, *, leaving: Collection[str] = (), settled: bool = False) -> list[Room]:
        """As `hosts`, with what is taken of each. `settled`: as if all that was told to stop were gone."""
        coming: defaultdict[str, list[Starting]] = defaultdict(list)
        for start in self.starting.values():
            coming[start.worker_id].append(start)
        own = self._claims.get(function_id)
        rooms: list[Room] = []
        for worker in self.workers.values():
            taken = {start.container_id: Taken(start.resources) for start in coming[worker.worker_id]}
            for container in worker.containers:
                container_id = container.container_id
                if container_id not in self._containers.get(container.function_id, {}):
                    continue  # its end was heard of ahead of the report
                told = container.state == "stopping" or container_id in self._stopping
                if settled and told:
                    continue
                goes = (told or container_id in leaving) and not container.busy
                taken[container_id] = Taken(container.resources, not (goes or container.waits))
            for claimant, claim in self._claims.items():
                older = own is None or claim.since < own.since
                if claim.worker_id == worker.worker_id and claimant != function_id and older:
                    taken[f"claim {claimant}"] = Taken(claim.resources)
            rooms.append(Room(self._empty(worker, function_id), taken))
        return rooms

    def _empty(self, worker: WorkerRecord, function_id: str) -> Host:
        refused = self._refused.get((function_id, worker.worker_id))
        return Host(
            worker_id=worker.worker_id,
            cpus=worker.cpus,
            memory_mib=worker.memory_mib,
            gpus=worker.gpus,
            runners=worker.runners,
            draining=worker.draining,
            refused=refused.reason if refused else "",
            cpus_free=worker.cpus,
            memory_free=worker.memory_mib,
            gpus_free=worker.gpus,
            containers_free=worker.max_containers or UNBOUNDED,
        )


def _waiting(worker: WorkerRecord | None) -> Counter[str]:
    return Counter(c.function_id for c in worker.containers if c.waits) if worker is not None else Counter()
