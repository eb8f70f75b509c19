"""The messages of a call's life: inputs, results, logs, events, wake-ups and control."""

from typing import Literal

from afield._wire.codec import message

CallKind = Literal["call", "map", "generator", "spawn"]

Status = Literal["ok", "error", "moved", "cancelled"]
"""How an input of a pack ended. `moved`: not here; it goes on in a pack of its own."""

ErrorKind = Literal[
    "exception",  # user code raised; `exception` holds it if it could be pickled
    "exit",  # user code called sys.exit(); exit_code says with what
    "timeout",  # the input ran longer than its function's timeout
    "memory",  # the container was killed for exceeding its memory limit
    "startup",  # the container could not be made ready: import error, missing module, failing enter
    "serialization",  # the result could not be turned into bytes
    "deserialization",  # the arguments could not be read back in the container
    "lost",  # the container died (exit code or signal) again and again
    "cancelled",
    "unschedulable",  # no worker can ever run this function
    "internal",  # the platform's own fault
]

BlobTier = Literal["file", "stream"]


@message("blob")
class BlobRef:
    """Where a payload over INLINE_LIMIT is kept.

    tier `file`: `name` in the blob folder that all processes of one host share; `host` says which host.
    tier `stream`: the object `name` in the bucket TMP, with its SHA-256.
    """

    tier: BlobTier
    name: str
    size: int
    host: str = ""
    sha256: bytes = b""


Payload = bytes | BlobRef
"""Serialised arguments or a serialised value: inline bytes, or a reference to a blob."""


@message("try")
class Attempt:
    """How an attempt ended that was not the last one."""

    number: int
    """From 1."""
    kind: ErrorKind
    message: str
    """The error in one line: its type and text."""
    at: float
    """Unix time at which it ended, seconds."""
    container_id: str = ""


@message("in")
class InputPack:
    """One message of an input stream: neighbouring inputs of one call.

    `args[i]` is the payload of input `first + i`: a serialised `(args tuple, kwargs dict)`.
    """

    call_id: str
    function_id: str
    kind: CallKind
    first: int
    args: tuple[bytes | BlobRef, ...]
    sent_at: float
    """Unix time, seconds."""
    caller_host: str = ""
    """Host id of the caller; results for the same host may use the file tier."""
    parent: str = ""
    """Input id of the caller, when a function calls another."""
    attempt: int = 1
    """Attempts of the user's code, counted from 1; a new one is a new message."""
    losses: int = 0
    """Platform losses that the input suffered in earlier packs."""
    not_before: float = 0.0
    """Unix time before which the attempt must not start."""
    method: str = ""
    """Of a class: which method to call."""
    history: tuple[Attempt, ...] = ()
    """How the attempts before this one ended, oldest first."""


@message("err")
class ErrorInfo:
    """Why an input did not end in a value."""

    kind: ErrorKind
    message: str
    type_name: str = ""
    """Qualified name of the exception's class."""
    traceback: str = ""
    """The remote traceback as text."""
    exception: bytes | BlobRef | None = None
    """The pickled exception with its cause chain (see afield.serialization), if it could be pickled."""
    exit_code: int | None = None
    signal: int | None = None
    log_tail: tuple[str, ...] = ()
    """The last lines that the container wrote, for errors that end the container."""
    container_id: str = ""
    history: tuple[Attempt, ...] = ()
    """The attempts before the one that ended in this error, oldest first."""
    method: str = ""
    """Of a class: which of its methods ran."""


@message("r")
class InputResult:
    """How one input ended."""

    index: int
    status: Status
    value: bytes | BlobRef | None = None
    run_s: float = 0.0
    """Seconds that the user's code ran."""
    error: ErrorInfo | None = None


@message("mv")
class Move:
    """An input that leaves its pack, and goes on as a pack of one."""

    index: int
    attempt: int
    losses: int = 0
    not_before: float = 0.0
    """Unix time before which it must not start."""
    ended: Attempt | None = None
    """How the attempt ended that this one follows; None when it is the same once more."""


@message("out")
class ResultPack:
    """One message of RESULTS: how the inputs of one pack ended.

    It decides over its pack. Whoever runs the pack a second time, because its worker died before the acknowledgement,
    finds it, and brings `moves` to an end, if that is still to be done.
    """

    call_id: str
    first: int
    results: tuple[InputResult, ...]
    container_id: str
    worker_id: str
    stored_by: float = 0.0
    """Unix time at which the worker published it."""
    moves: tuple[Move, ...] = ()
    """How those go on whose status is `moved`. They are published once this is stored."""


@message("gen")
class GeneratorChunk:
    """Values that a generator yielded, in order; `first` is the number of the first one."""

    call_id: str
    first: int
    values: tuple[bytes | BlobRef, ...]
    worker_id: str


@message("wake")
class Wake:
    """A client's hint that a function has inputs waiting."""

    ws: str
    function_id: str
    outstanding: int
    """Messages that this client has in flight for the function."""


CallVerb = Literal["cancel", "credit"]


@message("cc")
class CallControl:
    """To the workers that run a call."""

    verb: CallVerb
    call_id: str
    indices: tuple[int, ...] = ()
    """For `cancel`: which inputs; empty means all."""
    consumed: int = 0
    """For `credit`: values of a generator that the caller has taken so far (a running total, so repeats are safe)."""
    terminate_containers: bool = False


@message("log")
class LogBatch:
    """What one container wrote, in order per stream."""

    container_id: str
    function_id: str
    records: tuple["LogRecord", ...]


@message("l")
class LogRecord:
    """A piece of output. `data` may hold many lines, and need not end in a newline."""

    at: float
    """Unix time, seconds."""
    stream: Literal["stdout", "stderr", "system"]
    data: bytes
    input_id: str = ""
    """The input that ran when it was written, where that is certain."""


@message("waits")
class Waits:
    """From the client inside a container to its worker: what the container runs waits for calls that it made.

    Told when such a wait has lasted for a moment, repeated while it lasts, and taken back when it is over. At most
    once; the worker forgets it at the end of the pack.
    """

    container_id: str
    session: str
    """The client: a container may have several."""
    calls: int
    """Calls that it waits for; 0 when it waits no more."""


@message("kids")
class Children:
    """From the client inside a container to its worker: calls that the input `parent` made.

    They are cancelled when the input is cancelled, or when its container ends before it. At most once: a call of
    whose birth the worker did not hear goes on.
    """

    container_id: str
    parent: str
    """Input id. Empty for calls of a thread that runs for no input in particular: they end with the container."""
    ws: str
    call_ids: tuple[str, ...]
    over: bool = False
    """Whether these calls have ended, so that they need not be remembered."""
    spawned: bool = False
    """Whether the input goes on without them: these are cancelled only when it is cancelled itself."""


EventKind = Literal[
    "app.started",
    "app.stopped",
    "container.starting",
    "container.ready",
    "container.failed",
    "container.stopped",
    "container.notice",
    "function.waiting",
    "function.failing",
    "call.cancelled",
]


@message("ev")
class Event:
    """Something that the platform decided or saw."""

    kind: EventKind
    at: float
    """Unix time, seconds."""
    app_id: str
    function_id: str = ""
    container_id: str = ""
    worker_id: str = ""
    call_id: str = ""
    detail: str = ""
    """One sentence for people."""
    error: ErrorInfo | None = None
    """For `container.failed`: why it could not be made ready, where its own code is to blame."""
