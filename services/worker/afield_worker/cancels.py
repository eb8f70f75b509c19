"""Ends inputs that nobody wants any more, wherever they are, and hands over those that run elsewhere. Pure."""

from afield._wire import guest
from afield_worker import outcomes
from afield_worker.container import Container
from afield_worker.discipline import Discipline
from afield_worker.feeder import Feeder
from afield_worker.held import Held
from afield_worker.instructions import Instruction, Send
from afield_worker.ledger import Ledger
from afield_worker.slots import Slots


class Cancels:
    """Cancels calls and inputs."""

    __slots__ = ("_containers", "_discipline", "_feeder", "_functions", "_ledger")

    def __init__(
        self,
        functions: dict[str, Slots],
        containers: dict[str, Container],
        ledger: Ledger,
        discipline: Discipline,
        feeder: Feeder,
    ) -> None:
        self._functions = functions
        self._containers = containers
        self._ledger = ledger
        self._discipline = discipline
        self._feeder = feeder

    def call(
        self, call_id: str, indices: tuple[int, ...], now: float, *, terminate: bool = False
    ) -> list[Instruction]:
        """End these inputs of a call (all, if empty) as cancelled; with `terminate` by the end of their containers."""
        out: list[Instruction] = []
        which = frozenset(indices)
        touched: dict[str, Container] = {}
        functions: dict[str, Slots] = {}
        # What runs comes last: interrupted, a guest goes on with what it was sent ahead, and must know of that before.
        mine = [h for h in self._ledger.held.values() if h.pack.call_id == call_id]
        for held in sorted(mine, key=lambda h: h.phase == "running"):
            if held.phase == "running":
                container = self._containers[held.container_id]
                if self.running(container, held, which, now, out, tell=not terminate):
                    touched[container.id] = container
                    functions[held.pack.function_id] = container.function
            elif held.phase == "sent":
                self._sent(held, which, out)
            elif held.phase in ("waiting", "fetching"):
                functions[held.pack.function_id] = self._waiting(held, which, out)
        for container in touched.values():
            if terminate:
                self._discipline.condemn(container, "cancel", now, out)
            else:
                self.enforce(container, now, out)
        # Not before: what goes on must not begin in a container that is killed with the next input of this call.
        for slots in functions.values():
            self._feeder.go_on(slots, now, out)
        return out

    def running(
        self,
        container: Container,
        held: Held,
        which: frozenset[int],
        now: float,
        out: list[Instruction],
        *,
        tell: bool = True,
    ) -> bool:
        """Interrupt inputs of a pack that runs (all, if empty). False if they have all ended.

        `tell`: the guest is told, and has a moment to end them; else its container is killed.
        """
        unfinished = held.unfinished()
        which = which.intersection(unfinished) if which else frozenset(unfinished)
        if not which:
            return False
        held.cancelled |= which
        if not tell:
            held.verdict, held.deadline = "cancel", now
            return True
        out.append(Send(container.id, guest.Cancel(token=held.token, indices=tuple(sorted(which)))))
        # Only the input that runs now needs to be interrupted; the guest skips the others by itself.
        if container.function.record.spec.batching is None and unfinished[0] in which:
            self._discipline.interrupt(container, held, "cancel", now, out)
        return True

    def enforce(self, container: Container, now: float, out: list[Instruction]) -> None:
        """Have a batched function heed its cancellation when nobody wants anything of what it runs.

        Its inputs run together, so that one alone cannot be interrupted.
        """
        running = container.running.values()
        if container.function.record.spec.batching is None or container.killed:
            return
        if all(held.cancelled.issuperset(held.unfinished()) for held in running):
            for held in running:
                self._discipline.interrupt(container, held, "cancel", now, out)

    def hand_over(self, container: Container, now: float, out: list[Instruction]) -> None:
        """Interrupt all that a container runs, so that it runs elsewhere."""
        for held in container.running.values():
            if held.verdict != "return":
                out.append(Send(container.id, guest.Cancel(token=held.token)))
                self._discipline.interrupt(container, held, "return", now, out)

    def _sent(self, held: Held, which: frozenset[int], out: list[Instruction]) -> None:
        """The guest ends them in their turn, without beginning them."""
        unfinished = frozenset(held.unfinished())
        which = which & unfinished if which else unfinished
        if which:
            held.cancelled |= which
            out.append(Send(held.container_id, guest.Cancel(token=held.token, indices=tuple(sorted(which)))))

    def _waiting(self, held: Held, which: frozenset[int], out: list[Instruction]) -> Slots:
        slots = self._functions[held.pack.function_id]
        held.cancelled |= which or frozenset(held.unfinished())
        if held.cancelled.issuperset(held.unfinished()):
            slots.drop(held)
            outcomes.end_cancelled(held)
            self._ledger.settle(held, "", out)
        return slots
