"""How a worker that ends leaves its work: what waits goes back at once, what runs may end, or is handed back. Pure."""

from math import inf

from afield_worker.alarm import Alarm
from afield_worker.cancels import Cancels
from afield_worker.container import Container
from afield_worker.feeder import Feeder
from afield_worker.instructions import Instruction
from afield_worker.ledger import Ledger
from afield_worker.lives import Lives
from afield_worker.slots import Slots


class Drain:
    """Ends a pool. Nothing that it sends back has lost an attempt."""

    __slots__ = ("_alarm", "_cancels", "_containers", "_feeder", "_functions", "_ledger", "_lives", "_until")

    def __init__(
        self,
        functions: dict[str, Slots],
        containers: dict[str, Container],
        alarm: Alarm,
        ledger: Ledger,
        feeder: Feeder,
        lives: Lives,
        cancels: Cancels,
    ) -> None:
        self._functions = functions
        self._containers = containers
        self._alarm = alarm
        self._ledger = ledger
        self._feeder = feeder
        self._lives = lives
        self._cancels = cancels
        self._until = inf

    def begin(self, now: float, grace: float) -> list[Instruction]:
        """Stop pulling, and end every container: now if it is idle, else after what it runs, within `grace` seconds."""
        self._feeder.draining = True
        out: list[Instruction] = []
        for slots in self._functions.values():
            for held in slots.waits():
                slots.drop(held)
                self._ledger.give_back(held, out)
        for container in list(self._containers.values()):
            out += self._lives.retire(container.id, now)
        self._until = now + grace
        self._alarm.at(self._until)
        return out

    def tick(self, now: float, out: list[Instruction]) -> None:
        """Interrupt what still runs when its time is over; its containers then run their exit hooks."""
        if now >= self._until:
            self._until = inf
            for container in list(self._containers.values()):
                if not container.killed:
                    self._cancels.hand_over(container, now, out)
        self._alarm.at(self._until)
