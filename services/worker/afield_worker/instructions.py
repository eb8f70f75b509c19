"""What the pool tells its shell to do. The shell carries instructions out in the order given."""

from typing import NamedTuple

from afield._wire import guest
from afield._wire.messages import BlobRef, ErrorInfo, EventKind, InputResult
from afield._wire.subjects import Lane
from afield_worker.held import Delivery, Held, Moved


class Pull(NamedTuple):
    """Welcome so many `more` deliveries on a lane of a function."""

    function_id: str
    lane: Lane
    more: int


class Unpull(NamedTuple):
    """Stop pulling for a function; what is on its way still arrives, and is sent back."""

    function_id: str


class Send(NamedTuple):
    """Send a frame to the guest."""

    container_id: str
    frame: guest.Run | guest.Cancel | guest.Credit | guest.Recall | guest.Stop


class Fetch(NamedTuple):
    """See whether an earlier run of a pack came to an end, and bring its arguments to this host.

    Then tell the pool: `ended_before`, `fetched` or `fetch_failed`.
    """

    held: Held


class Settle(NamedTuple):
    """Publish the results, then the packs that go on by themselves (if any of either); then tell the pool: `stored`."""

    held: Held
    results: tuple[InputResult, ...]
    moved: tuple[Moved, ...]
    container_id: str


class StoreChunk(NamedTuple):
    """Publish values of a generator, then tell the pool: `chunk_stored` or `chunk_refused`."""

    held: Held
    number: int
    first: int
    values: tuple[bytes | BlobRef, ...]
    container_id: str


class Ack(NamedTuple):
    """The delivery is done with: its result is stored."""

    delivery: Delivery


class Nak(NamedTuple):
    """Send the delivery back, to be given to somebody after `delay` seconds."""

    delivery: Delivery
    delay: float
    held: Held | None = None
    """What was held of it."""


class Progress(NamedTuple):
    """These deliveries are still being worked on."""

    deliveries: tuple[Delivery, ...]


class Interrupt(NamedTuple):
    """Raise inside the user code that the container runs."""

    container_id: str


class Kill(NamedTuple):
    """End the container at once; its exit is reported as `container_exited`."""

    container_id: str


class Report(NamedTuple):
    """Something that people may want to see."""

    kind: EventKind
    container_id: str
    function_id: str
    app_id: str
    detail: str
    error: ErrorInfo | None = None
    """Why it could not be made ready, where its own code is to blame."""


class CancelCalls(NamedTuple):
    """Have the scheduler cancel these calls: the input that made them is cancelled, or lost."""

    ws: str
    call_ids: tuple[str, ...]


Instruction = (
    Pull
    | Unpull
    | Send
    | Fetch
    | Settle
    | StoreChunk
    | Ack
    | Nak
    | Progress
    | Interrupt
    | Kill
    | Report
    | CancelCalls
)
