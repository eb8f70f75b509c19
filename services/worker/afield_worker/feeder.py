"""Gives waiting packs to containers that have room, sends back what cannot start soon, and asks for more. Pure."""

from math import inf
from typing import Final

from afield._wire import guest
from afield._wire.functions import FunctionSpec
from afield_worker.alarm import Alarm
from afield_worker.container import Container
from afield_worker.discipline import EXIT_GRACE_S, Discipline
from afield_worker.held import Held
from afield_worker.instructions import Fetch, Instruction, Pull, Send, Unpull
from afield_worker.ledger import Ledger
from afield_worker.pipeline import Pipeline
from afield_worker.slots import QUEUE_S, Slots

_SURELY_S: Final = 0.001
"""So that what is looked at when it is due is due by the arithmetic of floats, too."""

GENERATOR_WINDOW: Final = 128
"""Values that a generator may be ahead of its caller."""

MOST_STORING: Final = 1024
"""Packs that wait for their results to be stored, beyond which nothing more is asked for: the store has a problem."""

FEW: Final = 4
"""Open requests that a pack which is sent back may go through on its way to another worker."""


class Feeder:
    """Moves packs from the stream to containers."""

    __slots__ = ("_alarm", "_discipline", "_ledger", "_pipeline", "draining")

    def __init__(self, alarm: Alarm, ledger: Ledger, discipline: Discipline, pipeline: Pipeline) -> None:
        self._alarm = alarm
        self._ledger = ledger
        self._discipline = discipline
        self._pipeline = pipeline
        self.draining = False
        """Whether nothing more is asked for."""

    def admit(self, slots: Slots, held: Held, now: float) -> list[Instruction]:
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

    def start(self, slots: Slots, now: float, out: list[Instruction]) -> None:
        """Give packs that wait to containers that have room."""
        while slots.alone and (pair := slots.isolate()) is not None:
            self._start(*pair, now, out)
        while slots.free and (held := slots.take()) is not None:
            self._start(slots.choose(), held, now, out)

    def go_on(self, slots: Slots, now: float, out: list[Instruction]) -> list[Instruction]:
        """Let everything that can happen for a function happen."""
        self.start(slots, now, out)
        if slots.waiting["hi"] or slots.waiting["lo"]:
            self._send_ahead(slots, now, out)
        if slots.sent:
            self._pipeline.look(slots, now, out)
        if slots.queued:
            for held in slots.excess(now):
                # Our own open requests may bring it right back: with many of them, it had better wait a little.
                delay = QUEUE_S if slots.outstanding[held.lane] > FEW else 0.0
                self._ledger.give_back(held, out, delay=delay)
        self._pull(slots, now, out)
        if slots.deferred:
            self._alarm.at(now + QUEUE_S)
        elif (queued := slots.queued) and queued > slots.starting:
            self._alarm.at(slots.doubtful_at(now) + _SURELY_S)
        return out

    def rest(self, container: Container, now: float, out: list[Instruction]) -> None:
        """A pack of the container has ended: it takes others, or ends if it has had its last."""
        if container.phase != "ready":
            return
        slots = container.function
        if container.outdated or slots.record.spec.single_use:
            container.retiring = True
            slots.close(container)
        if not container.running:
            container.alone = False
            if container.waits:
                container.waits.clear()
            if container.retiring:
                self._discipline.stop(container, now, EXIT_GRACE_S, out)
                return
            container.idle_since = now
        slots.open(container)

    def _pull(self, slots: Slots, now: float, out: list[Instruction]) -> None:
        if self.draining or not slots.alive:
            if slots.pulling:
                slots.stop_pulling()
                out.append(Unpull(slots.record.function_id))
            return
        if self._ledger.storing >= MOST_STORING:
            return
        for lane, count in slots.wants(now):
            out.append(Pull(slots.record.function_id, lane, count))

    def _send_ahead(self, slots: Slots, now: float, out: list[Instruction]) -> None:
        for container in self._pipeline.places(slots, now):
            held = slots.take()
            if held is None:
                return
            if not held.unharmed or _yields(slots.record.spec, held):
                slots.put_back((held,))
                return
            self._pipeline.send(container, held, _run(held), out)

    def _start(self, container: Container, held: Held, now: float, out: list[Instruction]) -> None:
        held.start(container.id, now)
        running = container.running
        running[held.token] = held
        if len(running) == container.places:
            container.function.close(container)
        container.idle_since = inf
        self._discipline.time(container, held, now)
        if _yields(container.function.record.spec, held):
            held.credit = GENERATOR_WINDOW
        out.append(Send(container.id, _run(held)))
        if held.cancelled:
            indices = tuple(sorted(held.cancelled))
            out.append(Send(container.id, guest.Cancel(token=held.token, indices=indices)))


def _yields(spec: FunctionSpec, held: Held) -> bool:
    """Tell whether a pack is for a generator."""
    method = held.pack.method
    return spec.is_generator or (method in spec.methods and spec.methods[method].is_generator)


def _run(held: Held) -> guest.Run:
    pack = held.pack
    return guest.Run(
        token=held.token,
        call_id=pack.call_id,
        kind=pack.kind,
        first=pack.first,
        args=held.args,
        attempt=pack.attempt,
        credit=held.credit,
        method=pack.method,
    )
