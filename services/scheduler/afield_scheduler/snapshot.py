"""What the scheduler knows: functions, workers with their containers, starts under way, backlogs.

Pure: everything comes in through methods, with the time passed in (seconds, monotonic). Decisions are made on this
alone, so a wake-up needs no request to anybody. Whatever a decision asks for is kept up to date, not searched for.
"""

from collections import defaultdict
from typing import NamedTuple

from afield._wire.functions import FunctionRecord, Resources, WorkerRecord
from afield_scheduler import autoscale
from afield_scheduler.account import empty
from afield_scheduler.claims import Claims, Refusals
from afield_scheduler.crews import Crews, Placed, Starting
from afield_scheduler.ledger import Ledger
from afield_scheduler.pace import Pace
from afield_scheduler.placement import Host, Need, ever
from afield_scheduler.states import WorkerPhase, next_worker
from afield_scheduler.view import View

RETURN_S = 30.0
"""Seconds in which a worker that left may come back (its service is being restarted)."""


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


class _Left(NamedTuple):
    host: Host
    at: float


class Snapshot:
    """The state of the fleet as last heard."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionRecord] = {}
        """To be changed by `put_function` and `remove_function` alone."""
        self.workers: dict[str, WorkerRecord] = {}
        """To be changed by `put_worker` and `remove_worker` alone."""
        self.backlog: dict[str, int] = {}
        """Function id to packs that wait or run, as last looked up."""
        self.slow: set[str] = set()
        """Functions whose packs take longer than the recent mean, as nothing has ended for a while."""
        self.phases: dict[str, WorkerPhase] = {}
        """Worker id to where it is in its life; none for one that is gone."""
        self._left: dict[str, _Left] = {}
        """Hosts of workers that left a moment ago."""
        self._crews = Crews()
        self._pace = Pace()
        self._claims = Claims()
        self._refusals = Refusals()
        self._ledger = Ledger(self.functions, self.workers, self._crews, self._claims)
        self._apps: defaultdict[str, set[str]] = defaultdict(set)
        """App id to its functions."""

    @property
    def starting(self) -> dict[str, Starting]:
        """Containers that workers were asked for and do not show yet, by their ids."""
        return self._crews.starting

    # -- functions --------------------------------------------------------------------------------

    def put_function(self, record: FunctionRecord) -> None:
        """Take over a function, new or changed."""
        self.functions[record.function_id] = record
        self._apps[record.app_id].add(record.function_id)
        self._crews.moved.add(record.function_id)

    def remove_function(self, function_id: str) -> FunctionRecord | None:
        """Forget a function; return what was known of it."""
        self.backlog.pop(function_id, None)
        self.slow.discard(function_id)
        self._claims.drop(function_id)
        self._crews.moved.add(function_id)
        record = self.functions.pop(function_id, None)
        if record is not None:
            of_app = self._apps[record.app_id]
            of_app.discard(function_id)
            if not of_app:
                del self._apps[record.app_id]
        self._ledger.keep_up()
        return record

    def functions_of(self, app_id: str) -> list[str]:
        """Return the ids of an app's functions, variants included."""
        return sorted(self._apps.get(app_id, ()))

    # -- workers and containers -------------------------------------------------------------------

    def put_worker(self, record: WorkerRecord) -> set[str]:
        """Take over a worker's report; return the functions to look at again.

        Those are the ones that lost a container since the last report, or of whose containers more, or fewer, wait.
        Raises TransitionError for a report that does not fit what the worker said before.
        """
        worker_id = record.worker_id
        phase = self.phases.get(worker_id, "gone")
        self.phases[worker_id] = next_worker(phase, "drain" if record.draining else "report")
        old = self.workers.get(worker_id)
        self.workers[worker_id] = record
        self._refusals.forget(worker_id)
        self._pace.report(old, record)
        return self._crews.report(old, record)

    def remove_worker(self, worker_id: str, now: float) -> set[str]:
        """Forget a worker that left or died; return the functions that had containers there, or on their way."""
        next_worker(self.phases.pop(worker_id, "gone"), "leave")
        record = self.workers.pop(worker_id, None)
        self._pace.report(record, None)
        if record is not None:
            self._left[worker_id] = _Left(empty(record), now)
        touched = self._crews.worker_gone(record, worker_id)
        self._ledger.keep_up()
        return touched

    def ended(self, container_id: str, function_id: str) -> bool:
        """Note that a container is gone, ahead of its worker's next report; False if it was not known."""
        return self._crews.ended(container_id, function_id)

    # -- what the scheduler itself set in motion ----------------------------------------------------

    def add_start(self, start: Starting) -> None:
        """Count a container that a worker is being asked for."""
        self._crews.add_start(start)

    def start_refused(self, start: Starting, reason: str, now: float) -> None:
        """Count it no more, and spare the worker for a while."""
        self._crews.not_starting(start.container_id)
        self._refusals.put(start.function_id, start.worker_id, reason, now)

    def mark_stopping(self, container_id: str, now: float) -> None:
        """Count a container no more, as it was told to stop."""
        self._crews.mark_stopping(container_id, now)

    def claim(self, function_id: str, worker_id: str, resources: Resources, now: float) -> None:
        """Keep the room that is being made for a function on a worker free for it; an empty id gives the claim up.

        A claim is as old as the function's first one since it last gave up, wherever that was.
        """
        if worker_id:
            self._claims.put(function_id, worker_id, resources, now)
        else:
            self._claims.drop(function_id)

    def forget_plans(self) -> None:
        """Forget what was set in motion: somebody else leads now."""
        self._claims.clear()
        self._refusals.clear()
        self._crews.forget_plans()
        self.slow.clear()

    def expire(self, now: float, start_timeout: float) -> set[str]:
        """Give up on starts that were never shown and stops that never happened; return the functions concerned."""
        self._refusals.expire(now)
        for worker_id, left in list(self._left.items()):
            if now - left.at >= RETURN_S:
                del self._left[worker_id]
        return {start.function_id for start in self._crews.expire(now, start_timeout)}

    # -- questions about functions ------------------------------------------------------------------

    def containers(self, function_id: str) -> list[Placed]:
        """Return the containers of a function that are not being stopped."""
        return self._crews.staying(function_id)

    def count(self, function_id: str) -> int:
        """Return how many containers a function has or will have in a moment."""
        return self._crews.count(function_id)

    def crew(self, function_id: str, now: float, wall: float) -> Crew:
        """Return who is there for a function. `now` is monotonic, `wall` is Unix time."""
        placed, starts = self.containers(function_id), self._crews.starts(function_id)
        ready = sum(each.record.state == "ready" for each in placed)
        warming = None
        if not ready:
            ages = [wall - each.record.started_at for each in placed]
            ages += [now - each.since for each in starts.values()]
            warming = max(ages, default=None)
        return Crew(
            placed=placed,
            number=len(placed) + len(starts),
            waiting=self._waiting(function_id, placed),
            leaving=self._crews.number(function_id) - len(placed),
            warming=warming,
            coming=len(starts) + len(placed) - ready,
        )

    def _waiting(self, function_id: str, placed: list[Placed]) -> int:
        waiting = [each.record for each in placed if each.record.waits]
        function = self.functions.get(function_id)
        most = autoscale.capacity(function.spec).most if waiting and function is not None else 1
        return sum(most == 1 or record.busy >= most for record in waiting)

    def waiting(self, function_id: str) -> int:
        """Return how many containers of a function take no input, as all that they can have waits for calls of its own."""
        return self._waiting(function_id, self.containers(function_id))

    def is_ready(self, container_id: str, function_id: str) -> bool:
        """Tell whether a container is ready, as far as its worker has reported."""
        placed = self._crews.one(container_id, function_id)
        return placed is not None and placed.record.state == "ready"

    def is_served(self, function_id: str) -> bool:
        """Tell whether a function has a container that could run an input, or that runs one yet."""
        return any(
            p.record.state == "ready" or (p.record.state == "stopping" and p.record.busy)
            for p in self._crews.there(function_id)
        )

    def workers_of(self, function_id: str) -> set[str]:
        """Return the workers that have containers of a function which are to stay, or were asked for some."""
        return {placed.worker_id for placed in self.containers(function_id)} | {
            start.worker_id for start in self._crews.starts(function_id).values()
        }

    def strays(self) -> list[Placed]:
        """Return containers whose function is not known."""
        self._ledger.recount()
        return [placed for f in self._ledger.strange for placed in self._crews.there(f)]

    def pack_seconds(self, function_id: str) -> float | None:
        """Return the recent mean of seconds per pack over all workers that ran some."""
        return self._pace.mean(function_id)

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

    # -- questions about hosts ------------------------------------------------------------------------

    def may_return(self, need: Need, now: float) -> bool:
        """Tell whether a worker left a moment ago on whose host a container could run."""
        return any(now - left.at < RETURN_S and ever(need, left.host) for left in self._left.values())

    def view(self, function_id: str) -> View:
        """Return the hosts as they stand for one more container of a function, until something changes."""
        self._ledger.refresh()
        return View(function_id, self._ledger, self._claims, self._refusals)
