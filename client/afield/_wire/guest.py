"""Frames on the link between a worker and the guest in a container.

The link is a Unix stream socket (one end of a socketpair). A frame is a 4-byte big-endian length and a message in the
project's codec. Payloads on the link are inline bytes or file blobs (BlobRef tier `file`, `name` an absolute path):
the worker moves blobs between hosts, the guest only maps and writes files.

Worker to template: Fork (with three descriptors: link, stdout, stderr), answered by Forked; later Exited. A Fork that
asks for a snapshot comes with a fourth, a control socket: the forked process says there, by Forked, that it has become
a template itself, whose first container has the link and gets Start again, or (pid 0) why not.
Worker to guest: Start first, then Run, Credit, Cancel, Recall, Stop. Guest to worker: Ready or StartFailed first, then
Results, Yields, Began, Recalled; a Notice at any time. A guest may have more packs than it runs at the same time: it begins
them in the order in which they came, and says how one ended before it begins the next.
"""

from typing import Any, Final, Literal

from afield._wire.codec import message
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef, CallKind, ErrorInfo, InputResult

HEADER_SIZE: Final = 4
MAX_FRAME: Final = 64 * 2**20
"""Bytes. Larger payloads travel as files, so a longer frame means a broken peer."""


# -- worker <-> template ----------------------------------------------------------------------------


@message("t.fork")
class Fork:
    """Fork a container. The descriptors link, stdout, stderr travel with it (SCM_RIGHTS)."""

    container_id: str
    env: dict[str, str]
    """Added to the template's environment."""
    memory_limit_mib: int | None = None
    snapshot_home: str = ""
    """Folder that the code of a snapshot is loaded from, which lasts as long as the forked process; else empty."""


@message("t.forked")
class Forked:
    """The container runs as `pid`, leader of a session of its own; pid 0 means it could not be made (`error`)."""

    container_id: str
    pid: int
    error: str = ""


@message("t.exited")
class Exited:
    """A container ended. `status` is as from os.waitpid: read it with os.WIFEXITED and friends."""

    container_id: str
    pid: int
    status: int
    max_rss_kib: int
    cpu_s: float = 0.0
    """Seconds of processor time: its leader's, and those of children that the leader waited for."""


@message("t.kill")
class Kill:
    """Send `signal` to a container: to its leader only, or to every process that descends from it."""

    container_id: str
    signal: int
    tree: bool = False


# -- worker -> guest ----------------------------------------------------------------------------------


@message("g.start")
class Start:
    """Become a container of this function: load its code, answer Ready or StartFailed."""

    container_id: str
    worker_id: str
    function: FunctionRecord
    home: str
    """The container's working folder: the source is linked into it, it comes first on sys.path, and is removed at the end."""
    blob_dir: str
    """Where the guest writes payloads over the inline limit."""
    serialized_path: str = ""
    """File with the pickled function, for `serialized=True`."""


@message("g.run")
class Run:
    """Run the inputs of a pack in order. `args[i]` belongs to input `first + i`."""

    token: int
    """The worker's number for this pack; comes back in Results and Yields."""
    call_id: str
    kind: CallKind
    first: int
    args: tuple[bytes | BlobRef, ...]
    attempt: int = 1
    credit: int = 0
    """For generators: how many values may be yielded before the next Credit."""
    method: str = ""
    """Of a class: which method to call."""


@message("g.credit")
class Credit:
    """A generator may have yielded this many values in all."""

    token: int
    total: int


@message("g.cancel")
class Cancel:
    """Interrupt these inputs of a pack (all, if empty); those not begun are not begun."""

    token: int
    indices: tuple[int, ...] = ()
    why: Literal["cancelled", "timeout"] = "cancelled"
    """`timeout`: the input that runs has had its time. Said in a frame where several packs may run at once."""


@message("g.recall")
class Recall:
    """Give these packs back, as far as they have not begun: answered by Recalled."""

    tokens: tuple[int, ...]


@message("g.stop")
class Stop:
    """Finish what runs, run exit hooks, exit with status 0. Packs that have not begun are not begun."""

    grace_s: float = 30.0


# -- guest -> worker ----------------------------------------------------------------------------------


@message("g.ready")
class Ready:
    """The code is loaded."""

    load_s: float
    """Seconds from the fork to here."""


@message("g.notice")
class Notice:
    """Something that its user should know, in one sentence: a snapshot that could not be made, and why."""

    text: str


@message("g.began")
class Began:
    """Inputs of these packs begin only now (they waited for a batch to fill): their time counts from here."""

    tokens: tuple[int, ...]


@message("g.recalled")
class Recalled:
    """These packs were given back, and will not be begun here; of those that were asked for, the others have begun."""

    tokens: tuple[int, ...]


@message("g.failed")
class StartFailed:
    """The code could not be loaded; the container exits."""

    error: ErrorInfo


@message("g.results")
class Results:
    """How inputs of a pack ended; a pack is over when all its inputs have been named, in one frame or several."""

    token: int
    results: tuple[InputResult, ...]


@message("g.yields")
class Yields:
    """Values of a generator, in order."""

    token: int
    first: int
    values: tuple[bytes | BlobRef, ...]


TO_GUEST: Final[dict[str, type[Any]]] = {
    "g.start": Start,
    "g.run": Run,
    "g.credit": Credit,
    "g.cancel": Cancel,
    "g.recall": Recall,
    "g.stop": Stop,
}
FROM_GUEST: Final[dict[str, type[Any]]] = {
    "g.ready": Ready,
    "g.failed": StartFailed,
    "g.notice": Notice,
    "g.began": Began,
    "g.recalled": Recalled,
    "g.results": Results,
    "g.yields": Yields,
}
TO_TEMPLATE: Final[dict[str, type[Any]]] = {"t.fork": Fork, "t.kill": Kill}
FROM_TEMPLATE: Final[dict[str, type[Any]]] = {"t.forked": Forked, "t.exited": Exited}
