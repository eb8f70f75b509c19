"""What is special about generators: values that travel before the end, credit, and that they run only once. Pure."""

from math import inf

from afield._wire import guest
from afield._wire.messages import ErrorInfo
from afield._wire.streams import ACK_WAIT, RESULT_TTL
from afield_worker import attempts
from afield_worker.container import Container
from afield_worker.discipline import Discipline
from afield_worker.feeder import GENERATOR_WINDOW, Feeder
from afield_worker.held import Held
from afield_worker.instructions import Instruction, Send, StoreChunk
from afield_worker.ledger import Ledger
from afield_worker.offspring import Offspring


class Generators:
    """The pool's events that concern generators."""

    __slots__ = ("_containers", "_discipline", "_feeder", "_ledger", "_offspring")

    def __init__(
        self,
        containers: dict[str, Container],
        ledger: Ledger,
        discipline: Discipline,
        feeder: Feeder,
        offspring: Offspring,
    ) -> None:
        self._containers = containers
        self._ledger = ledger
        self._discipline = discipline
        self._feeder = feeder
        self._offspring = offspring

    def yields(self, container_id: str, frame: guest.Yields, now: float) -> list[Instruction]:
        """A generator yielded values."""
        container = self._containers.get(container_id)
        held = container.running.get(frame.token) if container is not None else None
        if container is None or held is None:
            return []
        held.yielded = frame.first + len(frame.values)
        self._watch(container, held, now)
        number = held.chunks
        held.chunks += 1
        held.chunks_unstored += 1
        return [StoreChunk(held, number, frame.first, frame.values, container_id)]

    def credit(self, call_id: str, consumed: int, now: float) -> list[Instruction]:
        """The caller of a generator has taken `consumed` values in all."""
        for held in self._ledger.held.values():
            if held.pack.call_id == call_id and held.phase == "running":
                total = consumed + GENERATOR_WINDOW
                if total <= held.credit:
                    return []
                held.credit = total
                container = self._containers[held.container_id]
                self._watch(container, held, now)
                return [Send(container.id, guest.Credit(token=held.token, total=total))]
        return []

    def chunk_stored(self, held: Held) -> list[Instruction]:
        """The stream has a chunk."""
        held.chunks_unstored -= 1
        if held.chunks_unstored > 0 or held.settling is None:
            return []
        settle, held.settling = held.settling, None
        return [settle]

    def chunk_refused(self, held: Held, now: float, error: ErrorInfo | None = None) -> list[Instruction]:
        """A chunk could not be stored (`error`), or another run of this generator has stored one in its place.

        The other run may still be alive when this is the first delivery that the server remembers; then ours steps
        back. Otherwise it was lost, and so is the call: a generator is not run twice.
        """
        out: list[Instruction] = []
        if held.phase == "storing" and held.settling is not None:
            # It has ended, and waited for this chunk only.
            held.settling = None
            self._ledger.give_back(held, out, delay=float(ACK_WAIT), lost=True)
        elif held.phase == "running":
            self._end(self._containers[held.container_id], held, now, error, out)
        return out

    def _end(
        self, container: Container, held: Held, now: float, error: ErrorInfo | None, out: list[Instruction]
    ) -> None:
        """End a generator that runs: with an error, or by stepping back. Its container ends, as it still runs there."""
        slots = container.function
        if error is None and held.num_delivered > 1:
            error = attempts.lost_generator_error(slots.record.spec, container.id)
        held.chunks_unstored = 0
        self._offspring.lost(held, out)
        if error is None:
            self._ledger.give_back(held, out, delay=float(ACK_WAIT))
        else:
            self._ledger.fail(held, error, out)
        del container.running[held.token]
        container.retiring = True
        slots.close(container)
        if container.running:
            out.append(Send(container.id, guest.Cancel(token=held.token)))
        elif container.phase == "ready":
            container.waits.clear()
            self._discipline.stop(container, now, 0.0, out)
        self._feeder.go_on(slots, now, out)

    def _watch(self, container: Container, held: Held, now: float) -> None:
        """Stop a generator's clock while it waits for its caller: it is not late then, until its values lapse."""
        if container.killed or held.verdict:
            return
        waits = held.yielded >= held.credit
        if waits and held.left == inf:
            held.left = max(0.0, held.deadline - now)
            timeout = container.function.record.spec.timeout
            self._discipline.allow(held, now + max(timeout, RESULT_TTL["generator"]))
        elif not waits and held.left < inf:
            self._discipline.allow(held, now + held.left)
            held.left = inf
