"""The leader's work: hears of inputs, containers and functions, decides, and has the decisions carried out.

Events come in through plain methods, called inline by subscriptions and feeds; a wake-up of a function without a
container is answered there and then, from the snapshot. All else is found by looks at the backlog, which an agenda keeps.
"""

import time
from collections.abc import Iterable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, WorkerRecord
from afield._wire.messages import Event, Wake
from afield_common.jetstream import JetStream
from afield_common.lanes import open_lanes
from afield_common.log import get_logger
from afield_scheduler import demand
from afield_scheduler.agenda import Agenda
from afield_scheduler.autoscale import capacity
from afield_scheduler.backoff import Backoff
from afield_scheduler.bounded import Bounded
from afield_scheduler.closings import Closings, unschedulable
from afield_scheduler.commands import Commands
from afield_scheduler.demand import Inputs
from afield_scheduler.fleet import Fleet
from afield_scheduler.notices import Pulling
from afield_scheduler.planner import Decision, decide
from afield_scheduler.progress import Progress
from afield_scheduler.settings import SchedulerSettings
from afield_scheduler.shortage import Shortage
from afield_scheduler.snapshot import Snapshot
from afield_scheduler.strays import Strays
from afield_scheduler.waiting import Complaints, told

log = get_logger(__name__)

WOKEN_S: Final = 5.0
"""Seconds after a wake-up in which a function is looked at, even if nothing of it is to be seen."""

COLD_GAP_S: Final = 0.05
WARM_GAP_S: Final = 0.25
"""Seconds between looks that wake-ups may cause, at a function without and with containers."""

SETTLE_S: Final = 2.0
"""Seconds after the start of a lead in which workers may still come that nobody knows of: so long nothing is given up."""

SEARCH_S: Final = 10.0
"""Seconds between two searches for inputs of functions without consumers, whose wake-up was lost; each costs a request for
each such function."""

_CONTAINERS_KEPT: Final = 10_000
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
        self._commands = Commands(Fleet(bus), snapshot, tasks, self._on_refused)
        self._agenda = Agenda()
        self._backoff = Backoff()
        self._closings = Closings(bus, tasks, self._on_closed)
        self.complaints: Final = Complaints()
        self.pulling: Final = Pulling()
        self._progress = Progress()
        self.leading = False
        self._led_at = 0.0
        self._roused = anyio.Event()
        self._sweep_at = 0.0
        self._awaken_all = False
        self._search_at = 0.0
        self._woken: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._dormant: set[str] = set()
        self._strangers: Bounded[str, float] = Bounded(_STRANGERS_KEPT)
        self._ready: Bounded[str, None] = Bounded(_CONTAINERS_KEPT)
        self._strays = Strays()
        self._shortage = Shortage()

    # -- what happens -----------------------------------------------------------------------------

    def lead(self, leading: bool) -> None:
        """Take over, or stand back."""
        self.leading = leading
        self._led_at = time.monotonic()
        self._agenda.clear()
        self._woken.clear()
        self._shortage.clear()
        self._snapshot.forget_plans()
        self.complaints.clear()
        self.pulling.clear()
        self._progress.clear()
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
            self._strangers[wake.function_id] = now  # a wake-up can overtake the news of its function
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
        self._progress.woken(wake.function_id, now)
        gap = COLD_GAP_S if cold else WARM_GAP_S
        self._look_by(wake.function_id, max(now, self._looked.get(wake.function_id, -gap) + gap))
        if not cold and wake.outstanding > count * capacity(function.spec).target:
            if wake.outstanding > self._snapshot.backlog.get(wake.function_id, 0):
                self._snapshot.backlog[wake.function_id] = wake.outstanding
                self._decide(function)
            self._look_by(wake.function_id, self._progress.crowded(wake.function_id, now))

    def on_function(self, record: FunctionRecord) -> None:
        """A function was published, or changed."""
        known = self._snapshot.functions.get(record.function_id)
        self._snapshot.put_function(record)
        if known is not None and known.version != record.version:
            self._backoff.forget(record.function_id)
            self._stop_all(record.function_id, "the function was replaced", only_if_idle=True)
        if record.asleep and known is None:
            self._dormant.add(record.function_id)
        now = time.monotonic()
        woken = self._strangers.pop(record.function_id, None)
        if woken is not None and now - woken < WOKEN_S:
            self.on_wake(Wake(ws=record.ws, function_id=record.function_id, outstanding=1))
        elif record.spec.scaling.min_containers or known not in (None, record):
            self._look_by(record.function_id, now)

    def on_function_gone(self, function_id: str, reason: str = "its app was stopped") -> None:
        """A function's app was stopped."""
        self._snapshot.remove_function(function_id)
        self._agenda.cancel(function_id)
        self._backoff.forget(function_id)
        self.complaints.settle(function_id)
        self.pulling.forget(function_id)
        self._progress.forget(function_id)
        for table in (self._woken, self._looked, self._strangers):
            table.pop(function_id, None)
        self._dormant.discard(function_id)
        self._shortage.note(function_id, short=False)
        self._stop_all(function_id, reason)

    def on_worker(self, record: WorkerRecord) -> None:
        """A worker reported."""
        changed = self._snapshot.put_worker(record)
        now = time.monotonic()
        for function_id in changed:
            self._look_by(function_id, now)
        self._use_room(now)
        for container in record.containers:
            if container.function_id not in self._snapshot.functions:
                self._look_by(container.function_id, now)  # a stray, it seems
            elif container.function_id not in self._agenda:
                self._look_by(container.function_id, now + self._settings.look_s)

    def on_worker_gone(self, worker_id: str) -> None:
        """A worker died, or left."""
        if worker_id in self._snapshot.workers:
            log.warning("worker is gone", worker_id=worker_id)
        now = time.monotonic()
        for function_id in self._snapshot.remove_worker(worker_id, now):
            self._look_by(function_id, now)

    def on_event(self, event: Event) -> None:
        """A worker told what became of a container, ahead of its next report."""
        now = time.monotonic()
        if event.kind == "container.ready":
            self._ready[event.container_id] = None
            if self._is_current(event):
                self._backoff.ready(event.function_id)
        elif event.kind in ("container.failed", "container.stopped"):
            self._on_ended(event, now)

    def _on_ended(self, event: Event, now: float) -> None:
        function_id = event.function_id
        seen = self._snapshot.is_ready(event.container_id, function_id)
        was_ready = seen or event.container_id in self._ready
        current = self._is_current(event)
        self._ready.pop(event.container_id, None)
        self._commands.forget(event.container_id)
        self._snapshot.ended(event.container_id, function_id)
        function = self._snapshot.functions.get(function_id)
        if event.kind == "container.failed" and current:
            self._backoff.failed(function_id, was_ready=was_ready, now=now, error=event.error)
            error = self._backoff.hopeless(function_id, now)
            if function is not None and error is not None and self._is_stuck(function):
                self._closings.begin(function, error, lambda: self._is_stuck(function))
        if function is not None:
            self._look_by(function_id, now)
        self._use_room(now)

    def _is_current(self, event: Event) -> bool:
        """Tell whether a container runs its function's present version, as far as is known."""
        function = self._snapshot.functions.get(event.function_id)
        asked = self._commands.version_of(event.container_id)
        return asked is None or (function is not None and asked == function.version)

    def _is_stuck(self, function: FunctionRecord) -> bool:
        """Tell whether a function, still of this version, has no container that could run an input, or runs one."""
        current = self._snapshot.functions.get(function.function_id)
        return (
            self.leading
            and current is not None
            and current.version == function.version
            and not self._snapshot.is_served(function.function_id)
        )

    def _on_closed(self, function_id: str) -> None:
        """Its inputs have been ended: see what is left."""
        if function_id in self._snapshot.functions:
            self._look_by(function_id, time.monotonic())

    def _use_room(self, now: float) -> None:
        """There may be more room than before: whoever needs it most gets it at once, the others after a look."""
        planned, functions = self._shortage.next_due(), self._shortage.due(now)
        for function_id in functions:
            function = self._snapshot.functions.get(function_id)
            if function is not None and not self._snapshot.count(function_id):
                self._decide(function)
            else:
                self._look_by(function_id, now)
        if functions:
            self._shortage.seen_to(now, time.monotonic())
        elif planned is None and self._shortage.next_due() is not None:
            self._roused.set()

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
        due = (
            self._sweep_at,
            self._agenda.next_due(),
            self._strays.next_due(),
            self._shortage.next_due(),
        )
        return max(0.0, min(each for each in due if each is not None) - time.monotonic())

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
            self._take(found.inputs)
        self._stop_strays()
        if self._shortage.next_due() is not None:
            self._use_room(time.monotonic())

    def _stop_strays(self) -> None:
        for placed in self._strays.look(self._snapshot.strays(), time.monotonic()):
            self._commands.stop(placed, "its function is gone", only_if_idle=False)

    async def _sweep(self) -> None:
        """Look at all functions."""
        functions = self._snapshot.functions
        found = await demand.sweep(self._jet, list(functions.values()))
        self._dormant = found.dormant
        now = time.monotonic()
        if self._awaken_all or (found.uncounted and now >= self._search_at):
            # A function without consumers may have inputs that nobody counts.
            self._awaken_all = False
            self._search_at = now + SEARCH_S
            holding = await demand.holding(self._jet, [functions[f] for f in found.dormant if f in functions])
            await self._awaken(holding)
            if holding:
                found = await demand.sweep(self._jet, list(functions.values()))
        self._take(found.inputs)

    async def _awaken(self, dormant: Iterable[str]) -> None:
        for function_id in list(dormant):
            function = self._snapshot.functions.get(function_id)
            if function is not None:
                await open_lanes(self._jet, [function])
                self._dormant.discard(function_id)

    async def _awaken_and_look(self, function: FunctionRecord) -> None:
        try:
            await self._awaken({function.function_id})
        except* BusError as errors:
            reasons = [str(error) for error in errors.exceptions]
            log.warning("could not create consumers", function_id=function.function_id, errors=reasons)
        self._look_by(function.function_id, time.monotonic())

    def _take(self, found: dict[str, Inputs]) -> None:
        """Decide on fresh figures."""
        now = time.monotonic()
        for function_id, inputs in found.items():
            function = self._snapshot.functions.get(function_id)
            if function is None:
                continue
            self._snapshot.backlog[function_id] = inputs.backlog
            self._looked[function_id] = now
            self._see_progress(function_id, inputs, now)
            free = self._snapshot.free_on(function_id) if inputs.waiting and not inputs.pulls else ()
            self.pulling.look(function_id, packs=inputs.waiting, pulls=inputs.pulls, workers=free, now=now)
            self._decide(function)
            if self._active(function, now):
                self._look_by(function_id, now + self._settings.look_s)

    def _see_progress(self, function_id: str, inputs: Inputs, now: float) -> None:
        mean = self._snapshot.pack_seconds(function_id) or 0.0
        self._progress.look(function_id, floor=inputs.floor, backlog=inputs.backlog, now=now)
        if self._progress.is_slow(function_id, mean, now):
            self._snapshot.slow.add(function_id)
        else:
            self._snapshot.slow.discard(function_id)
        again_at = self._progress.next_look(function_id, mean, now)
        if again_at is not None:
            self._look_by(function_id, again_at)

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
        decision = self._decision(function)
        self._carry_out(function, decision)
        now = time.monotonic()
        self._snapshot.claim(function.function_id, decision.claim, function.spec.resources, now)
        self._shortage.note(function.function_id, short=decision.short)
        if decision.again_at is not None:
            self._look_by(function.function_id, decision.again_at)
        if decision.never:
            self._give_up(function, decision.waiting, now)
        self._complain(function, decision.waiting)

    def _carry_out(self, function: FunctionRecord, decision: Decision) -> None:
        for placed in decision.stop:
            self._commands.stop(placed, "idle", only_if_idle=True)
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
            self._commands.stop(placed, reason, only_if_idle=not retire, when_idle=retire)
        for placed in decision.reduce:
            self._commands.stop(placed, "fewer containers may run", only_if_idle=False, when_idle=True)
        for worker_id in decision.start_on:
            self._commands.start(function, worker_id)

    def _give_up(self, function: FunctionRecord, reason: str, now: float) -> None:
        """End the inputs of a function that no worker can ever run."""
        if now < self._led_at + SETTLE_S:
            self._look_by(function.function_id, self._led_at + SETTLE_S)
        elif self._snapshot.backlog.get(function.function_id, 0):
            error = unschedulable(function, reason)
            self._closings.begin(function, error, lambda: self._is_hopeless(function))

    def _is_hopeless(self, function: FunctionRecord) -> bool:
        return self._is_stuck(function) and self._decision(function).never

    def _decision(self, function: FunctionRecord) -> Decision:
        return decide(self._snapshot, function, self._backoff, now=time.monotonic(), wall=time.time())

    def _on_refused(self, function_id: str) -> None:
        """A worker did not take a container: another one may, now or in a while."""
        function = self._snapshot.functions.get(function_id)
        if function is not None:
            self._decide(function)
            self._look_by(function_id, time.monotonic() + self._settings.look_s)

    def _stop_all(self, function_id: str, reason: str, *, only_if_idle: bool = False) -> None:
        if self.leading:
            self._commands.stop_all(function_id, reason, only_if_idle=only_if_idle)

    def _complain(self, function: FunctionRecord, reason: str) -> None:
        """Tell why a function gets no container, once and when it changes."""
        if not self.complaints.note(function.function_id, reason, time.monotonic()):
            look_at = self.complaints.look_at(function.function_id)
            if look_at is not None:
                self._look_by(function.function_id, look_at)
            return
        log.warning("function waits", function_id=function.function_id, reason=reason)
        event = told(function, reason, time.time())
        self._bus.send(subjects.event(function.ws, function.app_id, function.function_id), encode(event))
