"""The worker's pool: which pack runs in which container, and what becomes of it.

Pure: every event comes with the time (`now`, monotonic seconds) and returns instructions. A pack that was delivered
ends in exactly one way: acknowledged after its result is stored, or sent back; until then it is held here, and only
one container runs it.
"""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from afield._wire import guest
from afield._wire.messages import BlobRef, Children, ErrorInfo, InputPack
from afield._wire.subjects import Lane
from afield_worker import attempts, outcomes
from afield_worker.alarm import Alarm
from afield_worker.cancels import Cancels
from afield_worker.container import Container
from afield_worker.discipline import Discipline
from afield_worker.drains import Drain
from afield_worker.feeder import MOST_STORING, Feeder
from afield_worker.generators import Generators
from afield_worker.held import Delivery, Held
from afield_worker.instructions import Instruction
from afield_worker.ledger import Ledger
from afield_worker.lives import Lives
from afield_worker.offspring import Offspring
from afield_worker.pipeline import Pipeline
from afield_worker.slots import Slots


class Unfinished(NamedTuple):
    """A delivery or a result of which the part that somebody waits for was dealt with."""

    slots: Slots
    freed: Container | None
    """Where a pack has ended."""
    now: float


class Pool:
    """All containers of this worker and all packs that it holds."""

    def __init__(self) -> None:
        self.functions: dict[str, Slots] = {}
        self.containers: dict[str, Container] = {}
        self._alarm = Alarm()
        self._ledger = Ledger(self._alarm)
        self._discipline = Discipline(self._alarm)
        self._offspring = Offspring()
        self._pipeline = Pipeline(self._alarm, self._discipline)
        self.unfinished: Unfinished | None = None
        """What `go_on` is to be called for, before any other event, once the instructions of the last one were carried out."""
        self._feeder = Feeder(self._alarm, self._ledger, self._discipline, self._pipeline)
        self.cancels = Cancels(self.functions, self.containers, self._ledger, self._discipline, self._feeder)
        """Events of calls that nobody wants any more."""
        self.lives = Lives(
            self.functions,
            self.containers,
            self._alarm,
            self._ledger,
            self._discipline,
            self._feeder,
            self.cancels,
            self._offspring,
            self._pipeline,
        )
        """Events of containers."""
        self.generators = Generators(
            self.containers, self._ledger, self._discipline, self._feeder, self._offspring
        )
        """Events of generators."""
        self._drain = Drain(
            self.functions,
            self.containers,
            self._alarm,
            self._ledger,
            self._feeder,
            self.lives,
            self.cancels,
        )

    @property
    def held(self) -> dict[str, Held]:
        """The packs held, by the subject of the input."""
        return self._ledger.held

    @property
    def next_tick(self) -> float:
        """When `tick` must be called at the latest."""
        return self._alarm.when

    @property
    def draining(self) -> bool:
        """Whether this worker takes nothing new."""
        return self._feeder.draining

    # -- deliveries ------------------------------------------------------------------------------------

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
        again: bool = False,
        deaths: int = 0,
    ) -> list[Instruction]:
        """A pack was delivered. `wait`: seconds before it may start; `fetch`: its arguments are not on this host.

        `again`: it may have been run before, see `comes_again`; it is fetched, too. `deaths`: how many workers are known to have died while they ran it.
        """
        slots = self.functions.get(pack.function_id)
        if slots is not None:
            slots.arrived(lane, pending, now)
        out = self._ledger.known(subject, delivery)
        if out is None:
            if slots is None or self._feeder.draining:
                out = [self._ledger.refuse(delivery, subject, max(wait, 0.0))]
            elif pack.not_before and (wait := self._wait(slots, subject, wait, now)) > 0.0:
                out = [self._ledger.refuse(delivery, subject, wait)]
            else:
                held = self._ledger.take(
                    subject,
                    lane,
                    pack,
                    delivery,
                    num_delivered,
                    now,
                    fetching=fetch or again,
                    again=again,
                    deaths=deaths,
                )
                out = self._feeder.admit(slots, held, now)
        if slots is not None:
            self._feeder.start(slots, now, out)
            self.unfinished = Unfinished(slots, None, now)
        return out

    def go_on(self) -> list[Instruction]:
        """Do what follows from the last delivery or result, and could wait until that was on its way."""
        if self.unfinished is None:
            return []
        slots, freed, now = self.unfinished
        self.unfinished = None
        out: list[Instruction] = []
        if freed is not None:
            self._pipeline.advance(freed, now)
            self._feeder.rest(freed, now, out)
        return self._feeder.go_on(slots, now, out)

    def fetched(self, held: Held, args: tuple[bytes | BlobRef, ...], now: float) -> list[Instruction]:
        """The arguments of a pack are on this host, as `args`."""
        slots = self.functions.get(held.pack.function_id)
        if slots is None or held not in slots.fetching:
            return []
        del slots.fetching[held]
        held.args = args
        out: list[Instruction] = []
        outcomes.workers_lost(slots.record.spec, held)
        if held.remaining:
            held.advance("fetched")
            slots.enqueue(held)
        else:
            self._ledger.settle(held, "", out)
        return self._feeder.go_on(slots, now, out)

    def comes_again(
        self, function_id: str, lane: Lane, subject: str, num_delivered: int, stored_ns: int
    ) -> bool:
        """Tell whether a delivery may be of a pack that was run before, and must be looked at first (see `Fetch`)."""
        if num_delivered > 1:
            return self._ledger.comes_again(subject, num_delivered)
        slots = self.functions.get(function_id)
        return slots is not None and slots.behind(lane, stored_ns)

    def deaths(self, message: str) -> int:
        """Return how many workers are known to have died while they ran a message."""
        return self._ledger.deaths(message)

    def inherit(self, deaths: Mapping[str, int]) -> None:
        """Learn which messages were run by workers that died, and by how many."""
        self._ledger.inherit(deaths)

    def ended_before(self, held: Held, elsewhere: frozenset[int], now: float) -> list[Instruction]:
        """An earlier run of a pack came to an end that stands; the inputs in `elsewhere` go on by themselves."""
        slots = self.functions.get(held.pack.function_id)
        if slots is None or held not in slots.fetching:
            return []
        del slots.fetching[held]
        out: list[Instruction] = []
        self._ledger.pass_over(held, elsewhere, out)
        return self._feeder.go_on(slots, now, out)

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
        return self._feeder.go_on(slots, now, out)

    def _wait(self, slots: Slots, subject: str, wait: float, now: float) -> float:
        longest = attempts.longest_wait(slots.record.spec.retries)
        return self._ledger.early(subject, min(wait, longest), now)

    # -- from the guest --------------------------------------------------------------------------------

    def results(self, container_id: str, frame: guest.Results, now: float) -> list[Instruction]:
        """Inputs of a pack that a container runs ended."""
        container = self.containers.get(container_id)
        held = container.running.get(frame.token) if container is not None else None
        if container is None or held is None:
            return []  # too late: the pack was taken from this container
        slots = container.function
        spec = slots.record.spec
        out: list[Instruction] = []
        returned = False
        for result in frame.results:
            if result.status == "ok":
                held.succeed(result)
            elif not outcomes.reported(spec, held, result):
                returned = True
        if held.cancelled or self._offspring.of:
            self._offspring.over(held, frame.results, out)
        container.heard = now
        if held.remaining and not returned:
            if not container.killed:
                self._discipline.time(container, held, now)
            return out
        del container.running[frame.token]
        if returned:
            self._ledger.give_back(held, out)
        else:
            slots.measure(held.run_seconds(now))
            self._ledger.settle(held, container_id, out)
        self.unfinished = Unfinished(slots, container, now)
        return out

    def began(self, container_id: str, frame: guest.Began, now: float) -> list[Instruction]:
        """Inputs of these packs waited for a batch to fill, and run now."""
        container = self.containers.get(container_id)
        if container is None:
            return []
        container.heard = now
        for token in frame.tokens:
            held = container.running.get(token)
            if held is not None and not container.killed:
                self._discipline.began(container, held, now)
        return []

    def recalled(self, container_id: str, frame: guest.Recalled, now: float) -> list[Instruction]:
        """A container gave back packs that it had not begun."""
        container = self.containers.get(container_id)
        if container is None:
            return []
        out: list[Instruction] = []
        back = self._pipeline.recalled(container, frame.tokens)
        for held in back:
            outcomes.end_cancelled(held)
            if not held.remaining:
                self._ledger.settle(held, "", out)
        container.function.put_back([held for held in back if held.phase == "waiting"])
        if not container.running:
            self._feeder.rest(container, now, out)
        return self._feeder.go_on(container.function, now, out)

    def wrote(self, container_id: str) -> Held | None:
        """A container wrote output: return the pack that it is of, None if that is not known.

        Functions that write are sent no packs ahead from now on, so that their output can be told apart.
        """
        container = self.containers.get(container_id)
        if container is None or not container.running:
            return None
        container.function.speaks = True
        if len(container.running) > 1 or container.ahead:
            return None
        return container.latest

    def children(self, children: Children) -> list[Instruction]:
        """A client inside a container told of calls that an input made."""
        container = self.containers.get(children.container_id)
        runs = container is not None and _runs(container, children.parent)
        return self._offspring.told(children, runs=runs, lives=container is not None)

    # -- stored or not ---------------------------------------------------------------------------------

    def stored(self, held: Held, now: float) -> list[Instruction]:
        """The stream has the result (ours or somebody else's) and what moves on."""
        return self._unstuck([self._ledger.stored(held)], now)

    def store_failed(self, held: Held, now: float) -> list[Instruction]:
        """The result could not be stored: the input is tried again, by whoever can."""
        out: list[Instruction] = []
        self._ledger.give_back(held, out, delay=1.0, lost=True)
        return self._unstuck(out, now)

    def _unstuck(self, out: list[Instruction], now: float) -> list[Instruction]:
        """Ask for more again, if nothing was asked for because too much waited to be stored."""
        if self._ledger.storing == MOST_STORING - 1:
            for slots in self.functions.values():
                self._feeder.go_on(slots, now, out)
        return out

    # -- the end, and the clock ------------------------------------------------------------------------

    def refuse(self) -> None:
        """Take nothing new from now on."""
        self._feeder.draining = True

    def drain(self, now: float, *, grace: float) -> list[Instruction]:
        """Stop pulling, send back what waits, and let every container end after what it runs.

        What still runs after `grace` seconds is interrupted, and sent back. Exit hooks get their own time after that.
        """
        return self._drain.begin(now, grace)

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
            elif container.running:
                self._discipline.look(container, now, out)
            self._alarm.at(container.deadline)
        for slots in dict.fromkeys(c.function for c in self.containers.values()):
            if slots.queued or slots.deferred:
                self._feeder.go_on(slots, now, out)
        self._ledger.tick(now, out)
        self._drain.tick(now, out)
        return out


def _runs(container: Container, parent: str) -> bool:
    """Tell whether a container runs the input with this id, or may have begun with it."""
    call, _, index = parent.removeprefix("in").rpartition("-")
    if not index.isdecimal():
        return False
    packs = (*container.running.values(), *container.ahead.values())
    return any(held.pack.call_id == f"fc{call}" and held.has(int(index)) for held in packs)
