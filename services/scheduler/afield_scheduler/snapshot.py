"""What the scheduler knows: functions, workers with their containers, starts under way, backlogs.

Pure: everything comes in through methods, with the time passed in (seconds, monotonic). Decisions are made on this
alone, so a wake-up needs no request to anybody.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from afield._wire.functions import ContainerRecord, FunctionRecord, Resources, WorkerRecord
from afield_scheduler import autoscale
from afield_scheduler.placement import UNBOUNDED, Host, Need, Taken, ever, occupied
from afield_scheduler.states import WorkerPhase, next_worker

STOPPING_S = 10.0
"""Seconds after which a container that was told to stop, and did not, counts again."""

AVOID_S = 2.0
"""Seconds that a worker's refusal of a function counts, unless its record changes earlier."""

RETURN_S = 30.0
"""Seconds in which a worker that left may come back (its service is being restarted)."""


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


class Crew(NamedTuple):
    """The containers of a function."""

    placed: list[Placed]
    """Those that live and are to stay."""
    number: int
    """Those, and the ones that are being started."""
    waiting: int
    """Of these, those that take no input, as all that they can have waits for calls of its own."""
    leaving: int
    """Those that were told to stop and are not gone yet."""
    warming: float | None
    """Seconds since the first of them was asked for; None when there is none, or one is up."""
    coming: int
    """Those that are not up yet."""


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


class _Left(NamedTuple):
    host: Host
    at: float


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
        self.slow: set[str] = set()
        """Functions whose packs take longer than the recent mean, as nothing has ended for a while."""
        self.phases: dict[str, WorkerPhase] = {}
        """Worker id to where it is in its life; none for one that is gone."""
        self._left: dict[str, _Left] = {}
        """Hosts of workers that left a moment ago."""
        self._claims: dict[str, Claim] = {}
        self._containers: defaultdict[str, dict[str, Placed]] = defaultdict(dict)
        self._stopping: dict[str, float] = {}
        self._refused: dict[tuple[str, str], _Refused] = {}
        self._hosts: dict[str, Host] = {}
        """Worker id to its host with what is on it, until one of these changes."""

    # -- functions --------------------------------------------------------------------------------

    def put_function(self, record: FunctionRecord) -> None:
        """Take over a function, new or changed."""
        self.functions[record.function_id] = record

    def remove_function(self, function_id: str) -> FunctionRecord | None:
        """Forget a function; return what was known of it."""
        self.backlog.pop(function_id, None)
        self.slow.discard(function_id)
        self._claims.pop(function_id, None)
        return self.functions.pop(function_id, None)

    # -- workers and containers -------------------------------------------------------------------

    def functions_of(self, app_id: str) -> list[str]:
        """Return the ids of an app's functions, variants included."""
        return [f.function_id for f in self.functions.values() if f.app_id == app_id]

    def put_worker(self, record: WorkerRecord) -> set[str]:
        """Take over a worker's report; return the functions to look at again.

        Those are the ones that lost a container since the last report, or of whose containers more, or fewer, wait.
        Raises TransitionError for a report that does not fit what the worker said before.
        """
        self._hosts.pop(record.worker_id, None)
        phase = self.phases.get(record.worker_id, "gone")
        self.phases[record.worker_id] = next_worker(phase, "drain" if record.draining else "report")
        old = self.workers.get(record.worker_id)
        before = self._drop_containers(record.worker_id)
        for container in record.containers:
            placed = Placed(record.worker_id, container)
            self._containers[container.function_id][container.container_id] = placed
            self._not_starting(container.container_id)
            if container.busy:
                self._stopping.pop(container.container_id, None)
        self.workers[record.worker_id] = record
        self._refused = {key: why for key, why in self._refused.items() if key[1] != record.worker_id}
        lost = {f for f, ids in before.items() if not ids <= self._containers.get(f, {}).keys()}
        waited, waits = _waiting(old), _waiting(record)
        return lost | {f for f in waited.keys() | waits.keys() if waited[f] != waits[f]}

    def remove_worker(self, worker_id: str, now: float) -> set[str]:
        """Forget a worker that left or died; return the functions that had containers there, or on their way."""
        self._hosts.pop(worker_id, None)
        touched = set(self._drop_containers(worker_id))
        next_worker(self.phases.pop(worker_id, "gone"), "leave")
        record = self.workers.pop(worker_id, None)
        if record is not None:
            self._left[worker_id] = _Left(self._empty(record, ""), now)
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
        start = self._not_starting(container_id)
        placed = self._containers.get(function_id, {}).pop(container_id, None)
        if placed is not None:
            self._hosts.pop(placed.worker_id, None)
        return start is not None or placed is not None

    def _not_starting(self, container_id: str) -> Starting | None:
        start = self.starting.pop(container_id, None)
        if start is not None:
            self._hosts.pop(start.worker_id, None)
        return start

    # -- what the scheduler itself set in motion ----------------------------------------------------

    def add_start(self, start: Starting) -> None:
        """Count a container that a worker is being asked for."""
        self.starting[start.container_id] = start
        self._hosts.pop(start.worker_id, None)

    def start_refused(self, start: Starting, reason: str, now: float) -> None:
        """Count it no more, and spare the worker for a while."""
        self._not_starting(start.container_id)
        self._refused[start.function_id, start.worker_id] = _Refused(reason, now)

    def mark_stopping(self, container_id: str, now: float) -> None:
        """Count a container no more, as it was told to stop."""
        self._stopping[container_id] = now
        self._hosts.clear()

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
        self._hosts.clear()
        self.slow.clear()

    def expire(self, now: float, start_timeout: float) -> set[str]:
        """Give up on starts that were never shown and stops that never happened; return the functions concerned."""
        late = [s for s in self.starting.values() if now - s.since >= start_timeout]
        for start in late:
            self._not_starting(start.container_id)
        stopping = {c: at for c, at in self._stopping.items() if now - at < STOPPING_S}
        if len(stopping) < len(self._stopping):
            self._stopping = stopping
            self._hosts.clear()
        self._refused = {k: why for k, why in self._refused.items() if now - why.at < AVOID_S}
        self._left = {w: left for w, left in self._left.items() if now - left.at < RETURN_S}
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
        return len(self._starts(function_id)) + len(self.containers(function_id))

    def crew(self, function_id: str, now: float, wall: float) -> Crew:
        """Return who is there for a function. `now` is monotonic, `wall` is Unix time."""
        placed, starts = self.containers(function_id), self._starts(function_id)
        warming = None
        if not any(each.record.state == "ready" for each in placed):
            ages = [wall - each.record.started_at for each in placed] + [now - each.since for each in starts]
            warming = max(ages, default=None)
        return Crew(
            placed=placed,
            number=len(placed) + len(starts),
            waiting=self._waiting(function_id, placed),
            leaving=len(self._containers.get(function_id, ())) - len(placed),
            warming=warming,
            coming=len(starts) + sum(each.record.state != "ready" for each in placed),
        )

    def _starts(self, function_id: str) -> list[Starting]:
        return [start for start in self.starting.values() if start.function_id == function_id]

    def _waiting(self, function_id: str, placed: list[Placed]) -> int:
        waiting = [each.record for each in placed if each.record.waits]
        function = self.functions.get(function_id)
        most = autoscale.capacity(function.spec).most if waiting and function is not None else 1
        return sum(most == 1 or record.busy >= most for record in waiting)

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
        """Return how many containers of a function take no input, as all that they can have waits for calls of its own."""
        return self._waiting(function_id, self.containers(function_id))

    def free_on(self, function_id: str) -> set[str]:
        """Return the workers that have a container of a function which could take more inputs."""
        return {p.worker_id for p in self.containers(function_id) if self.headroom(p) > 0}

    def headroom(self, placed: Placed) -> int:
        """Return how many packs more a container could have at the same time."""
        function = self.functions.get(placed.record.function_id)
        worker = self.workers.get(placed.worker_id)
        if function is None or worker is None or worker.draining or placed.record.state != "ready":
            return 0
        return max(0, autoscale.capacity(function.spec).most - placed.record.busy)

    def is_served(self, function_id: str) -> bool:
        """Tell whether a function has a container that could run an input, or that runs one yet."""
        placed = self._containers.get(function_id, {}).values()
        return any(
            p.record.state == "ready" or (p.record.state == "stopping" and p.record.busy) for p in placed
        )

    def may_return(self, need: Need, now: float) -> bool:
        """Tell whether a worker left a moment ago on whose host a container could run."""
        return any(now - left.at < RETURN_S and ever(need, left.host) for left in self._left.values())

    def hosts(self, function_id: str, *, leaving: Collection[str] = ()) -> list[Host]:
        """Return the hosts as they stand for one more container of a function.

        Containers that were told to stop, and those in `leaving`, have their memory until they are gone, but no core.
        """
        if leaving:
            return [room.host() for room in self.rooms(function_id, leaving=leaving)]
        hosts: list[Host] = []
        for worker in self.workers.values():
            host = self._hosts.get(worker.worker_id)
            if host is None:
                taken = self._taken(worker, self._coming()[worker.worker_id])
                host = self._hosts[worker.worker_id] = occupied(self._empty(worker, ""), taken.values())
            refused = self._refused.get((function_id, worker.worker_id))
            if refused is not None:
                host = replace(host, refused=refused.reason)
            if self._claims:
                host = occupied(host, self._claimed(worker, function_id).values())
            hosts.append(host)
        return hosts

    def rooms(self, function_id: str, *, leaving: Collection[str] = (), settled: bool = False) -> list[Room]:
        """As `hosts`, with what is taken of each. `settled`: as if all that was told to stop were gone."""
        coming = self._coming()
        return [
            Room(
                self._empty(worker, function_id),
                {
                    **self._taken(worker, coming[worker.worker_id], leaving, settled=settled),
                    **self._claimed(worker, function_id),
                },
            )
            for worker in self.workers.values()
        ]

    def _coming(self) -> defaultdict[str, list[Starting]]:
        coming: defaultdict[str, list[Starting]] = defaultdict(list)
        for start in self.starting.values():
            coming[start.worker_id].append(start)
        return coming

    def _taken(
        self,
        worker: WorkerRecord,
        coming: Iterable[Starting],
        leaving: Collection[str] = (),
        *,
        settled: bool = False,
    ) -> dict[str, Taken]:
        """What is taken of a host by containers, by their ids."""
        taken = {start.container_id: Taken(start.resources) for start in coming}
        for container in worker.containers:
            container_id = container.container_id
            if container_id not in self._containers.get(container.function_id, {}):
                continue  # its end was heard of ahead of the report
            told = container.state == "stopping" or container_id in self._stopping
            if settled and told:
                continue
            goes = (told or container_id in leaving) and not container.busy
            cores = not (goes or container.waits)
            taken[container_id] = Taken(container.resources, cores, container.gpus)
        return taken

    def _claimed(self, worker: WorkerRecord, function_id: str) -> dict[str, Taken]:
        """What is kept free on a host for other functions, which were there first."""
        own = self._claims.get(function_id)
        return {
            f"claim {claimant}": Taken(claim.resources)
            for claimant, claim in self._claims.items()
            if claim.worker_id == worker.worker_id
            and claimant != function_id
            and (own is None or claim.since < own.since)
        }

    def _empty(self, worker: WorkerRecord, function_id: str) -> Host:
        refused = self._refused.get((function_id, worker.worker_id))
        return Host(
            worker_id=worker.worker_id,
            cpus=worker.cpus,
            memory_mib=worker.memory_mib,
            gpus=worker.gpus,
            runners=worker.runners,
            labels=worker.labels,
            draining=worker.draining,
            stalled=worker.stalled,
            refused=refused.reason if refused else "",
            cpus_free=worker.cpus,
            memory_free=worker.memory_mib,
            gpus_free=worker.gpus,
            containers_free=worker.max_containers or UNBOUNDED,
        )


def _waiting(worker: WorkerRecord | None) -> Counter[str]:
    return Counter(c.function_id for c in worker.containers if c.waits) if worker is not None else Counter()
