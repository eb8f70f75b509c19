"""The worker's pool: which pack runs in which container, and what becomes of it.

Pure: every event comes with the time (`now`, monotonic seconds) and returns instructions. A pack that was delivered
ends in exactly one way: acknowledged after its result is stored, or sent back; until then it is held here, and only
one container runs it.
"""

from math import inf
from typing import Final

from afield._wire import guest
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef, ErrorInfo, EventKind, InputPack
from afield._wire.subjects import Lane
from afield_worker import attempts, outcomes
from afield_worker.alarm import Alarm
from afield_worker.attempts import Exit
from afield_worker.discipline import KILL_GRACE_S, Discipline
from afield_worker.generators import GENERATOR_WINDOW, Generators
from afield_worker.held import Delivery, Held
from afield_worker.instructions import Fetch, Instruction, Pull, Report, Send, Unpull
from afield_worker.ledger import Ledger
from afield_worker.slots import PATIENCE_S, QUEUE_S, Container, Slots

BROKEN_S: Final = 5.0
"""Seconds for which deliveries that come after a failed start still get its error."""

FEW: Final = 4
"""Open requests that a pack which is sent back may go through on its way to another worker."""

MAX_FUNCTIONS: Final = 1024
"""Functions whose mean run time is remembered, beyond those that have containers here."""


class Pool:
    """All containers of this worker and all packs that it holds."""

    def __init__(self) -> None:
        self.functions: dict[str, Slots] = {}
        self.containers: dict[str, Container] = {}
        self.draining = False
        self._alarm = Alarm()
        self._ledger = Ledger(self._alarm)
        self._discipline = Discipline(self._alarm)
        self.generators = Generators(self.containers, self._ledger, self._discipline, self._go_on)
        """Events of generators."""

    @property
    def held(self) -> dict[str, Held]:
        """The packs held, by the subject of the input."""
        return self._ledger.held

    @property
    def next_tick(self) -> float:
        """When `tick` must be called at the latest."""
        return self._alarm.when

    # -- containers -----------------------------------------------------------------------------------

    def container_requested(self, container_id: str, record: FunctionRecord, now: float) -> list[Instruction]:
        """A container is being started: ask for its first delivery already."""
        slots = self.functions.get(record.function_id)
        if slots is None:
            self._forget_functions()
            slots = self.functions[record.function_id] = Slots(record)
        slots.record = record
        slots.broken = None
        slots.pulling = True
        container = Container(container_id, slots, now)
        slots.containers[container_id] = self.containers[container_id] = container
        self._alarm.at(container.deadline)
        out: list[Instruction] = [_report("container.starting", container)]
        return self._pull(slots, now, out)

    def container_ready(self, container_id: str, now: float) -> list[Instruction]:
        """The guest has loaded its code."""
        container = self.containers.get(container_id)
        if container is None:
            return []
        container.advance("ready")
        if container.phase != "ready":
            return []
        out: list[Instruction] = [
            _report("container.ready", container, f"after {now - container.since:.3f} s")
        ]
        self._rest(container, now)
        return self._go_on(container.function, now, out)

    def container_failed(self, container_id: str, error: ErrorInfo, now: float) -> list[Instruction]:
        """The container could not be made ready; those who wait for it get the error."""
        container = self.containers.get(container_id)
        if container is None:
            return []
        stopping = container.phase == "stopping"
        container.advance("failed")
        self._discipline.patience(container, now + KILL_GRACE_S)
        if stopping:
            return []
        out: list[Instruction] = [_report("container.failed", container, error.message)]
        self._break(container.function, error, now, out)
        return self._go_on(container.function, now, out)

    def container_exited(self, container_id: str, end: Exit, now: float) -> list[Instruction]:
        """The process is gone."""
        container = self.containers.pop(container_id, None)
        if container is None:
            return []
        slots = container.function
        del slots.containers[container_id]
        if container in slots.idle:
            slots.idle.remove(container)
        starting = container.phase == "starting"
        # One that ended by itself failed, too; of one that could not load its code this was said already.
        failed = container.phase != "stopping" or container.verdict == "startup"
        container.advance("exit")
        kind: EventKind = "container.failed" if failed else "container.stopped"
        out: list[Instruction] = [_report(kind, container, _ending(container, end))]
        held, container.running = container.running, None
        if held is not None:
            outcomes.container_lost(container, held, end)
            if held.remaining:
                self._ledger.give_back(held, out, lost=not container.killed)
            else:
                self._ledger.settle(held, container_id, out)
        if container.verdict == "startup":
            error = attempts.slow_start_error(slots.record.spec, container_id, end.log_tail)
            self._break(slots, error, now, out)
        elif starting and not end.platform:
            self._break(slots, attempts.startup_error(slots.record.spec, container_id, end), now, out)
        return self._go_on(slots, now, out)

    def retire_container(self, container_id: str, now: float) -> list[Instruction]:
        """Let a container finish the pack that it runs, for as long as that may take, and end; give it no other."""
        container = self.containers.get(container_id)
        if container is None or container.phase == "stopping":
            return []
        if container.running is None:
            return self.stop_container(container_id, now)
        container.retiring = True
        return self._go_on(container.function, now, [])

    def stop_container(
        self, container_id: str, now: float, *, grace: float = 30.0, abort: bool = False
    ) -> list[Instruction]:
        """Let a container finish what it runs, and end; with `abort` what it runs is cancelled.

        It is killed when it still lives after `grace` seconds.
        """
        container = self.containers.get(container_id)
        if container is None:
            return []
        out: list[Instruction] = []
        if container.running is not None and abort:
            self._discipline.cancel(container, container.running, frozenset(), now, out)
        if container.phase != "stopping":
            self._discipline.stop(container, now, grace, out)
        elif now + grace + KILL_GRACE_S < container.deadline:
            self._discipline.patience(container, now + grace + KILL_GRACE_S)
        return self._go_on(container.function, now, out)

    def waits(self, container_id: str, session: str, calls: int, now: float) -> list[Instruction] | None:
        """A client inside a container waits for `calls` calls that it made, or (0) waits no more.

        None when that changes nothing: the container is gone, runs nothing, or has said so before.
        """
        container = self.containers.get(container_id)
        if container is None or container.running is None or (session in container.waits) == bool(calls):
            return None
        if calls:
            container.waits.add(session)
        else:
            container.waits.discard(session)
        return self._go_on(container.function, now, [])

    # -- deliveries -------------------------------------------------------------------------------------

    def delivery(
        self,
        delivery: Delivery,
        subject: str,
        lane: Lane,
        pack: InputPack,
        *,
        num_delivered: int,
        pending: int,
        now: float,
        wait: float = 0.0,
        fetch: bool = False,
    ) -> list[Instruction]:
        """A pack was delivered. `wait`: seconds before it may start; `fetch`: its arguments are not on this host."""
        slots = self.functions.get(pack.function_id)
        if slots is not None:
            slots.arrived(lane, pending, now)
        out = self._ledger.known(subject, delivery)
        if out is None:
            if wait > 0.0 or slots is None or self.draining:
                out = [self._ledger.refuse(delivery, subject, max(wait, 0.0))]
            else:
                held = self._ledger.take(subject, lane, pack, delivery, num_delivered, now, fetching=fetch)
                out = self._admit(slots, held, now)
        return out if slots is None else self._go_on(slots, now, out)

    def fetched(self, held: Held, args: tuple[bytes | BlobRef, ...], now: float) -> list[Instruction]:
        """The arguments of a pack are on this host, as `args`."""
        slots = self.functions.get(held.pack.function_id)
        if slots is None or held not in slots.fetching:
            return []
        del slots.fetching[held]
        held.args = args
        held.advance("fetched")
        slots.enqueue(held)
        return self._go_on(slots, now, [])

    def fetch_failed(
        self, held: Held, error: ErrorInfo | None, now: float, *, delay: float = 1.0
    ) -> list[Instruction]:
        """The arguments could not be brought here: for good (`error`), or for now (None)."""
        slots = self.functions.get(held.pack.function_id)
        if slots is None or held not in slots.fetching:
            return []
        del slots.fetching[held]
        out: list[Instruction] = []
        if error is None:
            self._ledger.give_back(held, out, delay=delay, lost=True)
        else:
            self._ledger.fail(held, error, out)
        return self._go_on(slots, now, out)

    # -- from the guest -----------------------------------------------------------------------------------

    def results(self, container_id: str, frame: guest.Results, now: float) -> list[Instruction]:
        """Inputs of the running pack ended."""
        container = self.containers.get(container_id)
        held = container.running if container is not None else None
        if container is None or held is None or held.token != frame.token:
            return []  # too late: the pack was taken from this container
        slots = container.function
        spec = slots.record.spec
        for result in frame.results:
            if result.status == "error" and result.error is not None:
                outcomes.failed(spec, held, result, result.error)
            else:
                held.end(result)
        if container.phase == "ready":
            container.verdict = ""
            self._discipline.patience(container, now + spec.timeout)
        if held.remaining:
            return []
        out: list[Instruction] = []
        slots.measure(held.run_seconds(now))
        self._ledger.settle(held, container_id, out)
        container.running = None
        container.waits.clear()
        outdated = container.version != slots.record.version or container.retiring
        if (spec.single_use or outdated) and container.phase == "ready":
            self._discipline.stop(container, now, 30.0, out)
        self._rest(container, now)
        return self._go_on(slots, now, out)

    # -- stored or not --------------------------------------------------------------------------------------

    def stored(self, held: Held) -> list[Instruction]:
        """The stream has the result (ours or somebody else's) and what moves on."""
        return [self._ledger.stored(held)]

    def store_failed(self, held: Held) -> list[Instruction]:
        """The result could not be stored: the input is tried again, by whoever can."""
        out: list[Instruction] = []
        self._ledger.give_back(held, out, delay=1.0, lost=True)
        return out

    # -- control ---------------------------------------------------------------------------------------------

    def cancel(
        self, call_id: str, indices: tuple[int, ...], now: float, *, terminate: bool = False
    ) -> list[Instruction]:
        """End these inputs of a call (all, if empty) as cancelled, wherever they are."""
        out: list[Instruction] = []
        for held in [h for h in self.held.values() if h.pack.call_id == call_id]:
            which = frozenset(indices)
            if held.phase == "running":
                container = self.containers[held.container_id]
                self._discipline.cancel(container, held, which, now, out, kill=terminate)
                self._go_on(container.function, now, out)
            elif held.phase in ("waiting", "fetching"):
                self._cancel_waiting(held, which, now, out)
        return out

    def drain(self, now: float, *, grace: float) -> list[Instruction]:
        """Stop pulling, send back what waits, and let every container end after what it runs."""
        self.draining = True
        out: list[Instruction] = []
        for slots in self.functions.values():
            for held in slots.waits():
                slots.drop(held)
                self._ledger.give_back(held, out)
        for container in list(self.containers.values()):
            out += self.stop_container(container.id, now, grace=grace)
        return out

    def abandon(self) -> list[Instruction]:
        """Send back everything that is held: the containers are gone, and results that are not stored never will be."""
        out: list[Instruction] = []
        for held in list(self.held.values()):
            self._ledger.give_back(held, out)
        return out

    def tick(self, now: float) -> list[Instruction]:
        """Do what is due, and find out what is due next."""
        out: list[Instruction] = []
        self._alarm.when = inf
        for container in list(self.containers.values()):
            if now >= container.deadline:
                self._discipline.overdue(container, now, out)
            self._alarm.at(container.deadline)
        for slots in dict.fromkeys(c.function for c in self.containers.values()):
            if slots.queued or slots.deferred:
                self._go_on(slots, now, out)
        self._ledger.tick(now, out)
        return out

    # -- in common -----------------------------------------------------------------------------------------

    def _admit(self, slots: Slots, held: Held, now: float) -> list[Instruction]:
        """Let a new pack wait, unless its end is known already."""
        out: list[Instruction] = []
        if slots.broken is not None and not slots.alive and now < slots.broken_until:
            self._ledger.fail(held, slots.broken, out)
        elif slots.record.spec.single_use and held.size > 1:
            # One input a container: a pack of many goes on as packs of one.
            for index in held.unfinished():
                held.move(index)
            self._ledger.settle(held, "", out)
        elif held.phase == "fetching":
            slots.fetching[held] = None
            out.append(Fetch(held))
        else:
            slots.enqueue(held)
        return out

    def _go_on(self, slots: Slots, now: float, out: list[Instruction]) -> list[Instruction]:
        """Give waiting packs to free containers, send back what cannot start soon, and ask for more."""
        while slots.idle and (held := slots.take()) is not None:
            self._start(slots.idle.pop(), held, now, out)
        if slots.queued:
            for held in slots.excess(now):
                # Our own open requests may bring it right back: with many of them, it had better wait a little.
                delay = QUEUE_S if slots.outstanding[held.lane] > FEW else 0.0
                self._ledger.give_back(held, out, delay=delay)
        self._pull(slots, now, out)
        if slots.deferred:
            self._alarm.at(now + QUEUE_S)
        elif slots.queued > slots.starting:
            self._alarm.at(now + PATIENCE_S)
        return out

    def _pull(self, slots: Slots, now: float, out: list[Instruction]) -> list[Instruction]:
        if self.draining or not slots.alive:
            if slots.pulling:
                slots.stop_pulling()
                out.append(Unpull(slots.record.function_id))
            return out
        for lane, count in slots.wants(now):
            out.append(Pull(slots.record.function_id, lane, count))
        return out

    def _start(self, container: Container, held: Held, now: float, out: list[Instruction]) -> None:
        held.advance("start")
        held.container_id = container.id
        held.since = now
        container.running = held
        container.idle_since = inf
        pack = held.pack
        spec = container.function.record.spec
        self._discipline.patience(container, now + spec.timeout)
        held.credit = GENERATOR_WINDOW if spec.is_generator else 0
        run = guest.Run(
            token=held.token,
            call_id=pack.call_id,
            kind=pack.kind,
            first=pack.first,
            args=held.args,
            attempt=pack.attempt,
            credit=held.credit,
        )
        out.append(Send(container.id, run))
        if held.cancelled:
            indices = tuple(sorted(held.cancelled))
            out.append(Send(container.id, guest.Cancel(token=held.token, indices=indices)))

    def _rest(self, container: Container, now: float) -> None:
        """The container has nothing to do."""
        if container.phase == "ready":
            container.idle_since = now
            container.deadline = inf
            container.verdict = ""
            container.function.idle.append(container)

    def _cancel_waiting(self, held: Held, which: frozenset[int], now: float, out: list[Instruction]) -> None:
        slots = self.functions[held.pack.function_id]
        held.cancelled |= which or frozenset(held.unfinished())
        if held.cancelled.issuperset(held.unfinished()):
            slots.drop(held)
            outcomes.end_cancelled(held)
            self._ledger.settle(held, "", out)
            self._go_on(slots, now, out)

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
        if len(self.functions) >= MAX_FUNCTIONS:
            unused = [f for f, slots in self.functions.items() if not slots.containers and not slots.queued]
            for function_id in unused[: MAX_FUNCTIONS // 2]:
                del self.functions[function_id]


def _report(kind: EventKind, container: Container, detail: str = "") -> Report:
    record = container.function.record
    return Report(kind, container.id, record.function_id, record.app_id, detail)


def _ending(container: Container, end: Exit) -> str:
    """Say in a few words why a container is gone."""
    why = {"timeout": "timed out", "cancel": "cancelled", "startup": "not ready in time", "stop": "stopped"}
    if container.verdict:
        return f"{why[container.verdict]}, killed" if container.killed else why[container.verdict]
    return end.reason
