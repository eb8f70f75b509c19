"""The packs that this worker holds, and what it remembers of those that it held. Pure."""

from collections import OrderedDict
from collections.abc import Mapping
from math import inf
from typing import Final

from afield._wire.messages import ErrorInfo, InputPack
from afield._wire.streams import ACK_WAIT
from afield._wire.subjects import Lane
from afield_worker.alarm import Alarm
from afield_worker.held import Delivery, Held
from afield_worker.instructions import Ack, Instruction, Nak, Progress, Settle
from afield_worker.recent import Recent

PROGRESS_S: Final = ACK_WAIT / 3

MOST_DUE: Final = 65_536
"""Attempts that wait for their time, of which the worker remembers when that is."""


class Ledger:
    """Every pack from its delivery until it is acknowledged (after its result is stored) or sent back."""

    __slots__ = (
        "_alarm",
        "_deaths",
        "_done",
        "_due",
        "_lost",
        "_progress_at",
        "_returned",
        "_token",
        "held",
        "storing",
    )

    def __init__(self, alarm: Alarm) -> None:
        self.held: dict[str, Held] = {}
        """By the subject of the input."""
        self.storing = 0
        """How many of them wait for their results to be stored."""
        self._alarm = alarm
        self._token = 0
        self._progress_at = inf
        self._done = Recent(4096)
        self._returned = Recent(4096)
        self._lost = Recent(4096)
        self._deaths = Recent(4096)
        """Of workers, by the message that they ran."""
        self._due: OrderedDict[str, float] = OrderedDict()
        """Attempts that came before their time, and when that is."""

    def known(self, subject: str, delivery: Delivery) -> list[Instruction] | None:
        """Say what to do with a twin of a pack that is held, or that is done with; None for another.

        The twin's handle replaces the one before. A twin of what has a stored result is only acknowledged.
        """
        twin = self.held.get(subject)
        if twin is not None:
            twin.delivery = delivery
            return []
        return [Ack(delivery)] if subject in self._done else None

    def early(self, subject: str, wait: float, now: float) -> float:
        """Return for how many seconds an attempt is not due yet. `wait`: the same, as this host's clock has it.

        That is asked once: a clock that is set while the attempt waits for its time does not change its time.
        """
        due = self._due.get(subject)
        if due is None:
            if wait <= 0.0:
                return 0.0
            due = self._due[subject] = now + wait
            if len(self._due) > MOST_DUE:
                self._due.popitem(last=False)
        elif due <= now:
            del self._due[subject]
        return max(0.0, due - now)

    def comes_again(self, subject: str, num_delivered: int) -> bool:
        """Tell whether some worker may have begun with a pack before: it was delivered oftener than it was sent back here."""
        return num_delivered - self._returned.get(subject) > 1

    def inherit(self, deaths: Mapping[str, int]) -> None:
        """Learn which messages were run by workers that died, and by how many."""
        for message, times in deaths.items():
            self._deaths.add(message, times)

    def deaths(self, message: str) -> int:
        """Return how many workers are known to have died while they ran a message."""
        return self._deaths.get(message)

    def take(
        self,
        subject: str,
        lane: Lane,
        pack: InputPack,
        delivery: Delivery,
        num_delivered: int,
        now: float,
        *,
        fetching: bool,
        again: bool = False,
        deaths: int = 0,
    ) -> Held:
        """Hold a pack that was delivered."""
        self._token += 1
        # What this worker sent back by itself was no loss.
        delivered = num_delivered - self._returned.get(subject)
        held = Held(
            self._token,
            subject,
            lane,
            pack,
            delivery,
            delivered,
            now,
            losses_seen=self._lost.get(subject),
            deaths=deaths,
            fetching=fetching,
            again=again,
        )
        self.held[subject] = held
        if self._progress_at == inf:
            self._progress_at = now + PROGRESS_S
            self._alarm.at(self._progress_at)
        return held

    def refuse(self, delivery: Delivery, subject: str, delay: float) -> Instruction:
        """Send a delivery back that was never held."""
        self._returned.add(subject)
        return Nak(delivery, delay)

    def give_back(
        self, held: Held, out: list[Instruction], *, delay: float = 0.0, lost: bool = False
    ) -> None:
        """Send a pack back. `lost`: it counts towards the losses after which an input ends."""
        self.storing -= held.phase == "storing"
        held.advance("give_back")
        del self.held[held.subject]
        (self._lost if lost else self._returned).add(held.subject)
        out.append(Nak(held.delivery, delay, held))

    def settle(self, held: Held, container_id: str, out: list[Instruction]) -> None:
        """All inputs have an end: store it, as soon as the values of a generator are stored."""
        held.advance("settle")
        self.storing += 1
        results, moved = held.outcome()
        settle = Settle(held, results, moved, container_id)
        if held.chunks_unstored > 0:
            held.settling = settle
        else:
            out.append(settle)

    def pass_over(self, held: Held, elsewhere: frozenset[int], out: list[Instruction]) -> None:
        """An earlier run of the pack came to an end that stands: nothing is left to do but to acknowledge it."""
        held.ended_before(elsewhere)
        held.advance("settle")
        self.storing += 1
        out.append(Settle(held, (), (), ""))

    def fail(self, held: Held, error: ErrorInfo, out: list[Instruction]) -> None:
        """End all inputs that have no end with the same error."""
        for index in held.unfinished():
            held.fail(index, error)
        self.settle(held, error.container_id, out)

    def stored(self, held: Held) -> Instruction:
        """The stream has the results: the input is done with."""
        held.advance("stored")
        self.storing -= 1
        del self.held[held.subject]
        self._done.add(held.subject)
        return Ack(held.delivery)

    def tick(self, now: float, out: list[Instruction]) -> None:
        """Report progress on everything held, all at once, often enough to keep it."""
        if now >= self._progress_at:
            if self.held:
                out.append(Progress(tuple(held.delivery for held in self.held.values())))
            self._progress_at = now + PROGRESS_S if self.held else inf
        self._alarm.at(self._progress_at)
