"""What happens to containers, from the request for one to its end, and what that means for the packs. Pure."""

from math import inf
from typing import Final

from afield._wire.functions import FunctionRecord
from afield._wire.messages import ErrorInfo, EventKind
from afield_worker import attempts, outcomes
from afield_worker.alarm import Alarm
from afield_worker.attempts import Exit
from afield_worker.cancels import Cancels
from afield_worker.container import Container
from afield_worker.discipline import EXIT_GRACE_S, KILL_GRACE_S, Discipline
from afield_worker.feeder import Feeder
from afield_worker.instructions import Instruction, Report
from afield_worker.ledger import Ledger
from afield_worker.offspring import Offspring
from afield_worker.pipeline import Pipeline
from afield_worker.slots import Slots

BROKEN_S: Final = 5.0
"""Seconds for which deliveries that come after a failed start still get its error."""

MAX_FUNCTIONS: Final = 1024
"""Functions whose mean run time is remembered, beyond those that have containers here."""


class Lives:
    """The pool's events that concern containers."""

    __slots__ = (
        "_alarm",
        "_cancels",
        "_containers",
        "_discipline",
        "_feeder",
        "_functions",
        "_ledger",
        "_offspring",
        "_pipeline",
    )

    def __init__(
        self,
        functions: dict[str, Slots],
        containers: dict[str, Container],
        alarm: Alarm,
        ledger: Ledger,
        discipline: Discipline,
        feeder: Feeder,
        cancels: Cancels,
        offspring: Offspring,
        pipeline: Pipeline,
    ) -> None:
        self._functions = functions
        self._containers = containers
        self._alarm = alarm
        self._ledger = ledger
        self._discipline = discipline
        self._feeder = feeder
        self._cancels = cancels
        self._offspring = offspring
        self._pipeline = pipeline

    def requested(self, container_id: str, record: FunctionRecord, now: float) -> list[Instruction]:
        """A container is being started: ask for its first deliveries already."""
        slots = self._functions.get(record.function_id)
        if slots is None:
            self._forget_functions()
            slots = self._functions[record.function_id] = Slots(record)
        slots.renew(record)
        slots.broken = None
        slots.pulling = True
        container = Container(container_id, slots, now)
        slots.containers[container_id] = self._containers[container_id] = container
        self._alarm.at(container.deadline)
        return self._feeder.go_on(slots, now, [report("container.starting", container)])

    def begun(self, container_id: str, pid: int, now: float) -> list[Instruction]:
        """Its process is there: from here the time that it may take to load its code counts."""
        container = self._containers.get(container_id)
        if container is not None:
            container.pid = pid
            if container.phase == "starting":
                self._discipline.patience(container, now + container.function.record.spec.startup_timeout)
        return []

    def ready(self, container_id: str, now: float) -> list[Instruction]:
        """The guest has loaded its code."""
        container = self._containers.get(container_id)
        if container is None:
            return []
        container.advance("ready")
        if container.phase != "ready":
            return []
        container.deadline = inf
        container.idle_since = now
        container.function.open(container)
        out: list[Instruction] = [
            report("container.ready", container, f"after {now - container.since:.3f} s")
        ]
        return self._feeder.go_on(container.function, now, out)

    def failed(self, container_id: str, error: ErrorInfo, now: float) -> list[Instruction]:
        """The container could not be made ready; those who wait for it get the error."""
        container = self._containers.get(container_id)
        if container is None:
            return []
        stopping = container.phase == "stopping"
        container.advance("failed")
        self._discipline.patience(container, now + KILL_GRACE_S)
        if stopping:
            return []
        out: list[Instruction] = [report("container.failed", container, error.message, error)]
        self._break(container.function, error, now, out)
        return self._feeder.go_on(container.function, now, out)

    def exited(self, container_id: str, end: Exit, now: float) -> list[Instruction]:
        """The process is gone."""
        container = self._containers.pop(container_id, None)
        if container is None:
            return []
        slots = container.function
        del slots.containers[container_id]
        slots.close(container)
        starting = container.phase == "starting"
        # One that ended by itself failed, too; of one that could not load its code this was said already.
        failed = container.phase != "stopping" or container.verdict == "startup"
        container.advance("exit")
        error: ErrorInfo | None = None
        if container.verdict == "startup":
            error = attempts.slow_start_error(slots.record.spec, container_id, end.log_tail)
        elif starting and not end.platform:
            error = attempts.startup_error(slots.record.spec, container_id, end)
        kind: EventKind = "container.failed" if failed else "container.stopped"
        out: list[Instruction] = [report(kind, container, _ending(container, end), error)]
        self._lose(container, end, out)
        if error is not None:
            self._break(slots, error, now, out)
        return self._feeder.go_on(slots, now, out)

    def noticed(self, container_id: str, text: str) -> list[Instruction]:
        """The guest says something that its user should know."""
        container = self._containers.get(container_id)
        return [] if container is None else [report("container.notice", container, text)]

    def retire(self, container_id: str, now: float) -> list[Instruction]:
        """Let a container finish what it runs, for as long as that may take, and end; give it nothing else."""
        container = self._containers.get(container_id)
        if container is None or container.phase == "stopping":
            return []
        if not container.running:
            return self.stop(container_id, now)
        container.retiring = True
        container.function.close(container)
        out: list[Instruction] = []
        self._pipeline.recall(container, out)
        return self._feeder.go_on(container.function, now, out)

    def stop(
        self,
        container_id: str,
        now: float,
        *,
        grace: float = EXIT_GRACE_S,
        abort: bool = False,
        why: str = "",
    ) -> list[Instruction]:
        """Let a container finish what it runs, and end; with `abort` what it runs is cancelled, and told `why`.

        It is killed when it still lives after `grace` seconds.
        """
        container = self._containers.get(container_id)
        if container is None:
            return []
        out: list[Instruction] = []
        if abort:
            for held in list(container.running.values()):
                held.why = why
                self._cancels.running(container, held, frozenset(), now, out)
            self._cancels.enforce(container, now, out)
        if container.phase != "stopping":
            self._discipline.stop(container, now, grace, out)
        elif now + grace + KILL_GRACE_S < container.deadline:
            self._discipline.patience(container, now + grace + KILL_GRACE_S)
        return self._feeder.go_on(container.function, now, out)

    def waits(self, container_id: str, session: str, calls: int, now: float) -> list[Instruction] | None:
        """A client inside a container waits for `calls` calls that it made, or (0) waits no more.

        None when that changes nothing: the container is gone, runs nothing, or has said so before.
        """
        container = self._containers.get(container_id)
        if container is None or not container.running:
            return None
        waited = container.waiting
        if calls:
            container.waits[session] = calls
        else:
            container.waits.pop(session, None)
        return None if container.waiting == waited else self._feeder.go_on(container.function, now, [])

    # -- in common -------------------------------------------------------------------------------------

    def _lose(self, container: Container, end: Exit, out: list[Instruction]) -> None:
        """Decide what becomes of the packs of a container that is gone."""
        running, container.running = container.running, {}
        self._offspring.gone(container.id, out)
        for held in running.values():
            self._offspring.lost(held, out)
            lost = outcomes.container_lost(container, held, end, beside=len(running) - 1)
            if held.remaining:
                self._ledger.give_back(held, out, lost=lost)
            else:
                self._ledger.settle(held, container.id, out)
        for held in self._pipeline.clear(container):
            self._offspring.lost(held, out)
            outcomes.end_cancelled(held)
            if held.remaining:
                self._ledger.give_back(held, out)
            else:
                self._ledger.settle(held, container.id, out)

    def _break(self, slots: Slots, error: ErrorInfo, now: float, out: list[Instruction]) -> None:
        """A container could not be made ready. Unless another one is, nobody here will run what waits."""
        if any(c.phase == "ready" for c in slots.containers.values()):
            return
        slots.broken = error
        slots.broken_until = now + BROKEN_S
        for held in slots.waits():
            slots.drop(held)
            self._ledger.fail(held, error, out)

    def _forget_functions(self) -> None:
        """Keep what is known of functions that have nothing here within a bound."""
        if len(self._functions) >= MAX_FUNCTIONS:
            unused = [f for f, slots in self._functions.items() if not slots.containers and not slots.queued]
            for function_id in unused[: MAX_FUNCTIONS // 2]:
                del self._functions[function_id]


def report(kind: EventKind, container: Container, detail: str = "", error: ErrorInfo | None = None) -> Report:
    """Return what to say of a container."""
    record = container.function.record
    return Report(kind, container.id, record.function_id, record.app_id, detail, error)


_WHY: Final = {
    "timeout": "timed out",
    "cancel": "cancelled",
    "return": "left for another worker",
    "startup": "not ready in time",
    "stop": "stopped",
}


def _ending(container: Container, end: Exit) -> str:
    """Say in a few words why a container is gone."""
    if container.verdict:
        return f"{_WHY[container.verdict]}, killed" if container.killed else _WHY[container.verdict]
    return end.reason
