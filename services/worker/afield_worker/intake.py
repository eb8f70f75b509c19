"""Takes deliveries in: reads them, and brings their arguments to this host."""

import time
from collections.abc import Callable

from anyio.abc import TaskGroup

from afield._bus.delivery import Delivery, message_of
from afield._bus.errors import BlobNotFoundError, BusError
from afield._wire import subjects
from afield._wire.codec import WireError, decode
from afield._wire.messages import BlobRef, ErrorInfo, InputPack
from afield._wire.streams import MAX_LOSSES
from afield._wire.subjects import Lane
from afield_common.log import get_logger
from afield_worker.blobs import Blobs, WrongHostError
from afield_worker.earlier import EarlierRuns
from afield_worker.estate import Estate
from afield_worker.held import Held
from afield_worker.instructions import Fetch, Instruction
from afield_worker.pool import Pool

log = get_logger(__name__)


class Intake:
    """Turns deliveries into events of the pool. On the way of a call no task is made and nothing is logged."""

    def __init__(
        self,
        tasks: TaskGroup,
        blobs: Blobs,
        pool: Pool,
        estate: Estate,
        earlier: EarlierRuns,
        do: Callable[[list[Instruction]], None],
    ) -> None:
        self._tasks = tasks
        self._blobs = blobs
        self._pool = pool
        self._estate = estate
        self._earlier = earlier
        self._do = do
        self._unreadable: dict[str, str] = {}
        """Subject to what is wrong with the message."""

    def on_delivery(self, lane: Lane, delivery: Delivery) -> None:
        """A consumer delivered a pack."""
        subject = delivery.subject
        fetch = False
        try:
            pack = decode(InputPack, delivery.data)
            if not pack.args or pack.function_id not in subject:
                raise WireError(
                    f"expected inputs for the function that {subject} names, got {len(pack.args)}"
                )
        except WireError as error:
            try:
                pack = _stand_in(subject)
            except ValueError:
                log.error("an input that nobody can answer is removed", subject=subject, error=str(error))
                delivery.term()
                return
            self._unreadable[subject] = str(error)
            fetch = True
        for arg in pack.args:
            if arg.__class__ is not bytes:
                fetch = True
        num_delivered = delivery.num_delivered
        again = self._pool.comes_again(pack.function_id, lane, subject, num_delivered, delivery.stored_ns)
        deaths = self._pool.deaths(message_of(delivery.reply)) if again else 0
        self._estate.hold(delivery, deaths)
        self._do(
            self._pool.delivery(
                delivery,
                subject,
                lane,
                pack,
                num_delivered=num_delivered,
                pending=delivery.pending,
                now=time.monotonic(),
                wait=_wait(pack) if pack.not_before else 0.0,
                fetch=fetch,
                again=again,
                deaths=deaths,
            )
        )

    def begin_fetch(self, fetch: Fetch) -> None:
        """Look for an earlier run of a pack, and bring its arguments to this host; the pool is told."""
        self._tasks.start_soon(self._fetch, fetch.held)

    async def _fetch(self, held: Held) -> None:
        failure: ErrorInfo | None = None
        args: tuple[bytes | BlobRef, ...] | None = None
        try:
            unreadable = self._unreadable.pop(held.subject, "")
            if unreadable:
                raise ValueError(f"the input cannot be read by this worker: {unreadable}")
            if held.again and (end := await self._earlier.end(held)) is not None:
                await self._earlier.send_on(held, end.moves)
                self._do(self._pool.ended_before(held, end.elsewhere, time.monotonic()))
                return
            args = await self._blobs.localize(held.pack.args, held.pack.call_id)
        except WrongHostError as error:
            if held.losses + 1 >= MAX_LOSSES:
                failure = ErrorInfo(kind="internal", message=str(error))
        except (BlobNotFoundError, ValueError) as error:
            failure = ErrorInfo(kind="internal", message=str(error))
        except (BusError, OSError) as error:
            log.warning("arguments not fetched, trying again", call_id=held.pack.call_id, error=str(error))
        now = time.monotonic()
        if args is None:
            self._do(self._pool.fetch_failed(held, failure, now))
            return
        self._do(self._pool.fetched(held, args, now))
        if held.args is not args:  # sent back or cancelled meanwhile
            self._blobs.forget(args)


def _wait(pack: InputPack) -> float:
    """Return the seconds until an attempt is due, as this host's clock has it.

    Never more than the delay that it was given when the attempt before it ended: if it seems so, a clock was set back.
    """
    wait = pack.not_before - time.time()
    return min(wait, pack.not_before - pack.history[-1].at) if pack.history else wait


def _stand_in(subject: str) -> InputPack:
    """Return a pack for a message that cannot be read, so that its caller can be told."""
    address = subjects.parse_input(subject)
    return InputPack(
        call_id=address.call_id,
        function_id=address.function_id,
        kind="call",
        first=address.pack.first,
        args=(b"",) * address.pack.size,
        sent_at=0.0,
        attempt=address.attempt,
    )
