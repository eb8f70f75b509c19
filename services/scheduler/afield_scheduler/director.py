"""The leader's work: hears of inputs, containers and functions, decides, and has the decisions carried out.

Events come in through plain methods, called inline by subscriptions and feeds; a wake-up of a function without a
container is answered there and then, from the snapshot. All else is found by looks at the backlog, which an agenda keeps.
"""

import time
from typing import Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._wire import subjects
from afield._wire.api import StopContainer
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, WorkerRecord
from afield._wire.ids import new_id
from afield._wire.messages import Event, Wake
from afield_common.jetstream import JetStream
from afield_common.log import get_logger
from afield_scheduler import demand
from afield_scheduler.agenda import Agenda
from afield_scheduler.backoff import Backoff
from afield_scheduler.fleet import Fleet
from afield_scheduler.planner import decide
from afield_scheduler.settings import SchedulerSettings
from afield_scheduler.snapshot import Placed, Snapshot, Starting
from afield_scheduler.waiting import Complaints

log = get_logger(__name__)

WOKEN_S: Final = 5.0
"""Seconds after a wake-up in which a function is looked at, even if nothing of it is to be seen."""

COLD_GAP_S: Final = 0.05
WARM_GAP_S: Final = 0.25
"""Seconds between looks that wake-ups may cause, at a function without and with containers."""

_READY_KEPT: Final = 10_000
_STRANGERS_KEPT: Final = 1_000


class Director:
    """Decides for all functions while `leading`."""

    def __init__(self, bus: Bus, settings: SchedulerSettings, snapshot: Snapshot, tasks: TaskGroup) -> None:
        """Requests to workers run in `tasks`."""
        self._bus = bus
        self._tasks = tasks
        self._settings = settings
        self._snapshot = snapshot
        self._jet = JetStream(bus)
        self._fleet = Fleet(bus)
        self._agenda = Agenda()
        self._backoff = Backoff()
        self.complaints: Final = Complaints()
        self.leading = False
        self._roused = anyio.Event()
        self._sweep_at = 0.0
        self._awaken_all = False
        self._woken: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._dormant: set[str] = set()
        self._strangers: dict[str, float] = {}
        self._ready: dict[str, None] = {}
        self._suspects: set[str] = set()
        self._short: set[str] = set()
        """Functions that need more containers than there is room for."""

    # -- what happens -----------------------------------------------------------------------------

    def lead(self, leading: bool) -> None:
        """Take over, or stand back."""
        self.leading = leading
        self._agenda.clear()
        self._woken.clear()
        self._short.clear()
        self._snapshot.forget_plans()
        self.complaints.clear()
        self.refresh()

    def refresh(self) -> None:
        """Look at everything now: we may have missed something."""
        self._sweep_at = 0.0
        self._awaken_all = True
        self._roused.set()

    def on_wake(self, wake: Wake) -> None:
        """A client published inputs."""
        if not self.leading:
            return
        now = time.monotonic()
        function = self._snapshot.functions.get(wake.function_id)
        if function is None:
            self._remember_stranger(wake.function_id, now)
            return
        self._woken[wake.function_id] = now
        count, waiting = self._snapshot.count(wake.function_id), self._snapshot.waiting(wake.function_id)
        if not count and wake.function_id in self._dormant:
            self._tasks.start_soon(self._awaken_and_look, function)
            return
        cold = count == waiting  # those that wait for calls of their own, maybe for this one, are no help
        if cold:
            known = self._snapshot.backlog.get(wake.function_id, 0)
            self._snapshot.backlog[wake.function_id] = max(waiting + 1, known)
            self._decide(function)
        gap = COLD_GAP_S if cold else WARM_GAP_S
        self._look_by(wake.function_id, max(now, self._looked.get(wake.function_id, -gap) + gap))

    def on_function(self, record: FunctionRecord) -> None:
        """A function was published, or changed."""
        known = self._snapshot.functions.get(record.function_id)
        self._snapshot.put_function(record)
        if known is not None and known.version != record.version:
            self._backoff.forget(record.function_id)
            self._stop_all(record.function_id, "the function was replaced", only_if_idle=True)
        now = time.monotonic()
        woken = self._strangers.pop(record.function_id, None)
        if woken is not None and now - woken < WOKEN_S:
            self.on_wake(Wake(ws=record.ws, function_id=record.function_id, outstanding=1))
        elif record.spec.scaling.min_containers:
            self._look_by(record.function_id, now)

    def on_function_gone(self, function_id: str) -> None:
        """A function's app was stopped."""
        self._snapshot.remove_function(function_id)
        self._agenda.cancel(function_id)
        self._backoff.forget(function_id)
        self.complaints.settle(function_id)
        for table in (self._woken, self._looked, self._strangers):
            table.pop(function_id, None)
        self._dormant.discard(function_id)
        self._short.discard(function_id)
        self._stop_all(function_id, "its app was stopped")

    def on_worker(self, record: WorkerRecord) -> None:
        """A worker reported."""
        changed = self._snapshot.put_worker(record)
        now = time.monotonic()
        for function_id in changed:
            self._look_by(function_id, now)
        self._use_room(now)
        for container in record.containers:
            if container.function_id not in self._agenda:
                self._look_by(container.function_id, now + self._settings.look_s)

    def on_worker_gone(self, worker_id: str) -> None:
        """A worker died, or left."""
        log.warning("worker is gone", worker_id=worker_id)
        for function_id in self._snapshot.remove_worker(worker_id):
            self._look_by(function_id, time.monotonic())

    def on_event(self, event: Event) -> None:
        """A worker told what became of a container, ahead of its next report."""
        now = time.monotonic()
        if event.kind == "container.ready":
            self._ready[event.container_id] = None
            if len(self._ready) > _READY_KEPT:
                del self._ready[next(iter(self._ready))]
        elif event.kind in ("container.failed", "container.stopped"):
            seen = self._snapshot.is_ready(event.container_id, event.function_id)
            was_ready = seen or event.container_id in self._ready
            self._ready.pop(event.container_id, None)
            if event.kind == "container.failed":
                self._backoff.failed(event.function_id, was_ready=was_ready, now=now)
            self._snapshot.ended(event.container_id, event.function_id)
            if event.function_id in self._snapshot.functions:
                self._look_by(event.function_id, now)
            self._use_room(now)

    def _use_room(self, now: float) -> None:
        """There may be more room than before: whoever needs it most gets it at once, the others after a look."""
        for function_id in list(self._short):
            function = self._snapshot.functions.get(function_id)
            if function is not None and not self._snapshot.count(function_id):
                self._decide(function)
            else:
                self._look_by(function_id, now)

    def _remember_stranger(self, function_id: str, now: float) -> None:
        """A wake-up can overtake the news of its function."""
        self._strangers[function_id] = now
        if len(self._strangers) > _STRANGERS_KEPT:
            del self._strangers[next(iter(self._strangers))]

    # -- looking ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at functions when it is time to, until cancelled."""
        well = True
        while True:
            self._roused = anyio.Event()
            with anyio.move_on_after(self._pause()):
                await self._roused.wait()
            if not self.leading:
                continue
            try:
                await self._look()
            except* BusError as errors:
                # Nothing is lost: the functions stay active, and the next sweep finds them.
                say = log.warning if well else log.debug  # once an outage
                say("could not look at backlogs", errors=[str(e) for e in errors.exceptions])
                well = False
                self.refresh()
                await anyio.sleep(self._settings.look_s)
            else:
                well = True

    def _pause(self) -> float | None:
        if not self.leading:
            return None
        due = self._agenda.next_due()
        until = self._sweep_at if due is None else min(due, self._sweep_at)
        return max(0.0, until - time.monotonic())

    async def _look(self) -> None:
        now = time.monotonic()
        functions = self._snapshot.functions
        for function_id in self._snapshot.expire(now, self._settings.start_timeout_s):
            log.warning("a container was asked for but never came up", function_id=function_id)
            self._look_by(function_id, now)
        due = set(self._agenda.pop_due(now)) & functions.keys()
        if now >= self._sweep_at:
            self._sweep_at = now + self._settings.sweep_s
            await self._sweep()
        elif due:
            found = await demand.look(self._jet, [functions[f] for f in due])
            await self._awaken(found.dormant)
            self._take(found.backlog)

    async def _sweep(self) -> None:
        """Look at all functions, and for containers that should not be."""
        functions = self._snapshot.functions
        found = await demand.sweep(self._jet, list(functions.values()))
        self._dormant = found.dormant
        if self._awaken_all:
            # A function whose consumers have expired may have inputs that nobody counts.
            self._awaken_all = False
            await self._awaken(found.dormant)
            found = await demand.sweep(self._jet, list(functions.values()))
            self._dormant = set()
        self._take(found.backlog)
        strays = {placed.record.container_id: placed for placed in self._snapshot.strays()}
        for container_id in strays.keys() & self._suspects:  # twice: the news of a function may be late
            self._stop(strays[container_id], "its function is gone", only_if_idle=False)
        self._suspects = set(strays)

    async def _awaken(self, dormant: set[str]) -> None:
        for function_id in dormant:
            function = self._snapshot.functions.get(function_id)
            if function is not None:
                await demand.awaken(self._jet, function)
                self._dormant.discard(function_id)

    async def _awaken_and_look(self, function: FunctionRecord) -> None:
        try:
            await self._awaken({function.function_id})
        except BusError as error:
            log.warning("could not create consumers", function_id=function.function_id, error=str(error))
        self._look_by(function.function_id, time.monotonic())

    def _take(self, backlog: dict[str, int]) -> None:
        """Decide on fresh figures."""
        now = time.monotonic()
        for function_id, packs in backlog.items():
            function = self._snapshot.functions.get(function_id)
            if function is None:
                continue
            self._snapshot.backlog[function_id] = packs
            self._looked[function_id] = now
            self._decide(function)
            if self._active(function, now):
                self._look_by(function_id, now + self._settings.look_s)

    def _active(self, function: FunctionRecord, now: float) -> bool:
        function_id = function.function_id
        woken = now - self._woken.get(function_id, -WOKEN_S) < WOKEN_S
        if not woken:
            self._woken.pop(function_id, None)
        return (
            woken
            or self._snapshot.backlog.get(function_id, 0) > 0
            or self._snapshot.count(function_id) > 0
            or function.spec.scaling.min_containers > 0
        )

    def _look_by(self, function_id: str, due: float) -> None:
        if self.leading and self._agenda.at_latest(function_id, due):
            self._roused.set()

    # -- deciding and doing -------------------------------------------------------------------------

    def _decide(self, function: FunctionRecord) -> None:
        if not self.leading:
            return
        decision = decide(self._snapshot, function, self._backoff, now=time.monotonic(), wall=time.time())
        for placed in decision.stop:
            self._stop(placed, "idle", only_if_idle=True)
        for placed in (*decision.evict, *decision.retire):
            retire = placed in decision.retire
            log.debug(
                "a container makes room",
                container_id=placed.record.container_id,
                function_id=placed.record.function_id,
                room_for=function.function_id,
                busy=retire,
            )
            reason = f"it made room for {function.spec.name}"
            self._stop(placed, reason, only_if_idle=not retire, when_idle=retire)
        for worker_id in decision.start_on:
            self._start(function, worker_id)
        now = time.monotonic()
        self._snapshot.claim(function.function_id, decision.claim, function.spec.resources, now)
        if decision.short:
            self._short.add(function.function_id)
        else:
            self._short.discard(function.function_id)
        if decision.again_at is not None:
            self._look_by(function.function_id, decision.again_at)
        self._complain(function, decision.waiting)

    def _start(self, function: FunctionRecord, worker_id: str) -> None:
        start = Starting(
            new_id("ta"), function.function_id, worker_id, function.spec.resources, time.monotonic()
        )
        self._snapshot.add_start(start)
        self._tasks.start_soon(self._request_start, function, start)

    async def _request_start(self, function: FunctionRecord, start: Starting) -> None:
        refusal = await self._fleet.start(function, start)
        if refusal and start.container_id in self._snapshot.starting:
            self._snapshot.start_refused(start, refusal, time.monotonic())
            current = self._snapshot.functions.get(function.function_id)
            if current is not None:
                self._decide(current)
                self._look_by(current.function_id, time.monotonic() + self._settings.look_s)

    def _stop(self, placed: Placed, reason: str, *, only_if_idle: bool, when_idle: bool = False) -> None:
        container = placed.record
        self._snapshot.mark_stopping(container.container_id, time.monotonic())
        request = StopContainer(
            container_id=container.container_id,
            function_id=container.function_id,
            app_id=container.app_id,
            only_if_idle=only_if_idle,
            reason=reason,
            when_idle=when_idle,
        )
        self._tasks.start_soon(self._fleet.stop, placed.worker_id, request)

    def _stop_all(self, function_id: str, reason: str, *, only_if_idle: bool = False) -> None:
        """Stop the containers of a function wherever they are, or are about to be."""
        if not self.leading:
            return
        workers = {placed.worker_id for placed in self._snapshot.containers(function_id)}
        workers |= {s.worker_id for s in self._snapshot.starting.values() if s.function_id == function_id}
        for worker_id in workers:
            request = StopContainer(function_id=function_id, only_if_idle=only_if_idle, reason=reason)
            self._tasks.start_soon(self._fleet.stop, worker_id, request)

    def _complain(self, function: FunctionRecord, reason: str) -> None:
        """Tell why a function gets no container, once and when it changes."""
        if not self.complaints.note(function.function_id, reason, time.monotonic()):
            return
        log.warning("function waits", function_id=function.function_id, reason=reason)
        event = Event(
            kind="function.waiting",
            at=time.time(),
            app_id=function.app_id,
            function_id=function.function_id,
            detail=f"{function.spec.name} waits: {reason}",
        )
        self._bus.send(subjects.event(function.ws, function.app_id, function.function_id), encode(event))
