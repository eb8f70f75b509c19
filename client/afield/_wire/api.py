"""Requests and replies of the services (NATS request/reply, bodies in the project's codec).

An endpoint is a constant `Endpoint(subject, request class, reply class)`. A service that cannot answer replies with
the headers `Nats-Service-Error-Code` and `Nats-Service-Error` and the body `ApiError`.
"""

from dataclasses import field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from afield._wire.codec import message
from afield._wire.functions import AppRecord, AppState, FunctionRecord, FunctionSpec, Options
from afield._wire.subjects import worker_api

Q = TypeVar("Q")
A = TypeVar("A")


class Endpoint(NamedTuple, Generic[Q, A]):
    """One request subject with the classes of its request and reply."""

    subject: str
    request: type[Q]
    reply: type[A]


ErrorCode = Literal[
    "invalid",  # 400: the request is at fault
    "denied",  # 403
    "not_found",  # 404
    "conflict",  # 409
    "exhausted",  # 429
    "internal",  # 500: the platform is at fault
    "unavailable",  # 503: try again
]


@message("api.error")
class ApiError:
    """Why a request failed."""

    code: ErrorCode
    message: str


@message("api.done")
class Done:
    """The request was carried out, and there is nothing to say."""


# -- registry -------------------------------------------------------------------------------------


@message("registry.app.create")
class CreateApp:
    """Start an ephemeral (or detached) app."""

    ws: str
    name: str
    description: str
    session: str
    state: AppState = "ephemeral"
    tags: dict[str, str] = field(default_factory=dict)
    app_id: str = ""
    """The new app's id, which makes repeats harmless; empty: the registry chooses one."""


@message("registry.app.created")
class AppCreated:
    """The new app."""

    app_id: str
    heartbeat_s: float
    """Seconds between heartbeats that the client owes; the app is stopped when three are missed."""
    shards: int


@message("registry.app.publish")
class PublishFunctions:
    """Give an app its functions, or more of them; one with a known name is replaced."""

    ws: str
    app_id: str
    functions: tuple[FunctionSpec, ...]


@message("registry.app.published")
class FunctionsPublished:
    """The functions as recorded, in the order given."""

    functions: tuple[FunctionRecord, ...]


@message("registry.app.ref")
class AppRef:
    """Names one app, by id or by name (the latest running one)."""

    ws: str
    app_id: str = ""
    name: str = ""
    reason: str = ""
    """For stop: why, in a few words."""


@message("registry.app.beat")
class AppHeartbeat:
    """The client of an ephemeral app lives."""

    ws: str
    app_id: str
    session: str


@message("registry.app.list")
class ListApps:
    """Ask for the apps of an environment."""

    ws: str
    include_stopped: bool = False


@message("registry.app.listed")
class AppList:
    """Apps, newest first."""

    apps: tuple[AppRecord, ...]


@message("registry.function.ref")
class FunctionRef:
    """Names one function: by id, or by name within an app (by app id or app name)."""

    ws: str
    function_id: str = ""
    app_id: str = ""
    app_name: str = ""
    name: str = ""


@message("registry.function.bind")
class BindFunction:
    """Make a variant of a function: a class with constructor arguments, or other options, or both.

    The same arguments and options give the same variant, however often it is asked for.
    """

    ws: str
    function_id: str
    """Of the base, or of a variant: then its options, and its arguments unless others are given, stay."""
    params: bytes = b""
    """Serialised `(args tuple, kwargs dict)`; equal arguments must give equal bytes. Empty: none, or as before."""
    options: Options | None = None


@message("registry.function.scale")
class ScaleFunction:
    """Change how many containers a function may have, until it is published again. None leaves a setting as it is."""

    ws: str
    function_id: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


APP_CREATE = Endpoint("registry.app.create", CreateApp, AppCreated)
APP_PUBLISH = Endpoint("registry.app.publish", PublishFunctions, FunctionsPublished)
APP_HEARTBEAT = Endpoint("registry.app.heartbeat", AppHeartbeat, Done)
APP_STOP = Endpoint("registry.app.stop", AppRef, Done)
APP_GET = Endpoint("registry.app.get", AppRef, AppRecord)
APP_LIST = Endpoint("registry.app.list", ListApps, AppList)
FUNCTION_GET = Endpoint("registry.function.get", FunctionRef, FunctionRecord)
FUNCTION_BIND = Endpoint("registry.function.bind", BindFunction, FunctionRecord)
FUNCTION_SCALE = Endpoint("registry.function.scale", ScaleFunction, FunctionRecord)


# -- scheduler ------------------------------------------------------------------------------------


@message("scheduler.call.ref")
class CallRef:
    """Names one call."""

    ws: str
    call_id: str
    terminate_containers: bool = False
    indices: tuple[int, ...] = ()
    """For cancel and get: which inputs; empty means all."""


@message("scheduler.call.state")
class CallState:
    """What is stored of a call: the packs that wait or run, and the packs that have a result (tokens `0-64`).

    When indices were asked for, only the packs that hold one of these inputs.
    """

    call_id: str
    pending: tuple[str, ...]
    finished: tuple[str, ...]
    state: str = ""
    """`unknown`, `pending`, `finished` or `cancelled`: of the whole call."""
    inputs: int = 0
    """Inputs of the whole call, as far as they have been published."""


@message("scheduler.stats.request")
class StatsRequest:
    """Ask for the state of the fleet."""

    ws: str = ""


@message("scheduler.stats")
class FleetStats:
    """The fleet, as the scheduler sees it. `workers` holds WorkerRecord arrays, `backlog` packs by function id."""

    leader: str
    workers: tuple[Any, ...]
    backlog: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    """Function id to the reason why no container can be started for it."""
    notices: tuple[str, ...] = ()
    """What is not as it should be, a sentence each: inputs that nobody pulls, workers that have stalled."""


@message("scheduler.function.stats.request")
class FunctionStatsRequest:
    """Ask how busy a function is."""

    ws: str
    function_id: str


@message("scheduler.function.stats")
class FunctionStats:
    """How busy a function is, as the scheduler last heard."""

    backlog: int
    """Inputs that wait; those of packs of several are counted by their mean."""
    containers: int
    inputs_running: int
    input_headroom: int
    """Inputs that its ready containers could take besides."""
    queued: int = 0
    """Messages in the input stream that it shares with other functions: what waits, and what runs."""
    max_queued: int = 0
    """The most messages that this stream takes; 0: no such limit."""


CALL_CANCEL = Endpoint("scheduler.call.cancel", CallRef, Done)
CALL_GET = Endpoint("scheduler.call.get", CallRef, CallState)
CALL_FORGET = Endpoint("scheduler.call.forget", CallRef, Done)
"""Purge the stored results of a call whose caller has taken them all."""
FLEET_STATS = Endpoint("scheduler.fleet.stats", StatsRequest, FleetStats)
FUNCTION_STATS = Endpoint("scheduler.function.stats", FunctionStatsRequest, FunctionStats)


# -- worker (one set of endpoints per worker) -------------------------------------------------------


@message("worker.start")
class StartContainer:
    """Start one container of a function. `key` makes repeats harmless: it is the id of the new container."""

    container_id: str
    function: FunctionRecord


@message("worker.started")
class StartReply:
    """Whether the worker took it; a refusal is normal, and says why."""

    accepted: bool
    reason: str = ""


@message("worker.stop")
class StopContainer:
    """Stop one container, or with an empty id all containers of `function_id` or `app_id`."""

    container_id: str = ""
    function_id: str = ""
    app_id: str = ""
    only_if_idle: bool = False
    """Leave those that run something alone."""
    reason: str = ""
    when_idle: bool = False
    """Let those that run something finish it first, however long its timeout allows; nothing new is given to them."""


def worker_start(worker_id: str) -> Endpoint[StartContainer, StartReply]:
    """The endpoint of one worker that starts a container."""
    return Endpoint(worker_api(worker_id, "start"), StartContainer, StartReply)


def worker_stop(worker_id: str) -> Endpoint[StopContainer, Done]:
    """The endpoint of one worker that stops containers."""
    return Endpoint(worker_api(worker_id, "stop"), StopContainer, Done)
