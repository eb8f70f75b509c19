"""Every subject of the platform, as functions of its parts.

Tokens hold no dots, and the most general token comes first, so that one wildcard names one thing:
`in.0.main.fu-….*.fc-….>` are the inputs of one call. `<s>` is the shard kept in the function's record,
`<ws>` the environment, `<pack>` is `<first index>-<size>`.

========================================================  ===========================================
`in.<s>.<ws>.<fn>.<lane>.<call>.<pack>.<attempt>`         inputs, stream IN_<s>
`out.<s>.<ws>.<session>.<call>.<pack or g<n>>`            results and generator chunks, stream RESULTS
`res.<s>.<ws>.<session>.<call>.<pack or g<n>>`            the same, republished once stored
`log.<ws>.<app>.<fn>.<container>`                         output of user code, stream LOGS
`ev.<ws>.<app>.<fn>.<call>`                               decisions and state changes, stream EVENTS
`cron.<ws>.<id>` fires `tick.<ws>.<id>`                   schedules, stream CRON
`wake.<s>`                                                core only: a function has inputs
`ctl.call.<ws>.<call>`                                    core only: cancel, generator credit
`ctl.w.<worker>.<verb>`                                   request/reply: the API of one worker
`ctl.w.<worker>.waits`                                    core only: a container waits for calls of its own
`ctl.w.<worker>.children`                                 core only: a container made calls of its own
`registry.<noun>.<verb>`, `scheduler.<noun>.<verb>`       request/reply: NATS micro services
========================================================  ===========================================
"""

from typing import Final, Literal, NamedTuple

from afield._wire.ids import parse_call_id

Lane = Literal["hi", "lo"]
"""Single calls travel in `hi`, maps in `lo`, so a big map never delays a single call."""

LANES: Final[tuple[Lane, ...]] = ("hi", "lo")


class Pack(NamedTuple):
    """Neighbouring inputs that travel as one message: the first index and how many."""

    first: int
    size: int

    def __str__(self) -> str:
        return f"{self.first}-{self.size}"

    @property
    def indices(self) -> range:
        """The indices of the inputs in this pack."""
        return range(self.first, self.first + self.size)


def parse_pack(token: str) -> Pack:
    """Return the pack that a `<first>-<count>` token names. Raises ValueError for anything else."""
    first, dash, size = token.partition("-")
    if not dash or not first.isdecimal() or not size.isdecimal() or int(size) < 1:
        raise ValueError(f"expected a pack token like '0-64', got {token!r}")
    return Pack(int(first), int(size))


# -- inputs ---------------------------------------------------------------------------------------


class InputSubject(NamedTuple):
    """The parts of an input's subject."""

    shard: int
    ws: str
    function_id: str
    lane: Lane
    call_id: str
    pack: Pack
    attempt: int

    def __str__(self) -> str:
        return (
            f"in.{self.shard}.{self.ws}.{self.function_id}.{self.lane}"
            f".{self.call_id}.{self.pack.first}-{self.pack.size}.{self.attempt}"
        )


def parse_input(subject: str) -> InputSubject:
    """Split the subject of an input. Raises ValueError for another subject."""
    parts = subject.split(".")
    if len(parts) != 8 or parts[0] != "in" or parts[4] not in LANES:
        raise ValueError(f"expected in.<s>.<ws>.<fn>.<lane>.<call>.<pack>.<attempt>, got {subject!r}")
    lane: Lane = "hi" if parts[4] == "hi" else "lo"
    return InputSubject(
        int(parts[1]), parts[2], parts[3], lane, parts[5], parse_pack(parts[6]), int(parts[7])
    )


def inputs_of_function(shard: int, ws: str, function_id: str, lane: Lane | None = None) -> str:
    """Filter for the inputs of one function, in one lane or in both."""
    return f"in.{shard}.{ws}.{function_id}.{lane or '*'}.>"


def inputs_of_call(ws: str, call_id: str) -> str:
    """Filter for the inputs of one call."""
    return f"in.{parse_call_id(call_id).shard}.{ws}.*.*.{call_id}.>"


def input_stream(shard: int) -> str:
    """Name of the stream that keeps the inputs of a shard."""
    return f"IN_{shard}"


def input_consumer(ws: str, function_id: str, lane: Lane) -> str:
    """Name of the durable consumer of one function's lane on its input stream."""
    return f"{ws}_{function_id}_{lane}"


# -- results --------------------------------------------------------------------------------------

RESULTS_STREAM: Final = "RESULTS"


def result(ws: str, call_id: str, pack: Pack | str) -> str:
    """Where the result of a pack is published."""
    call = parse_call_id(call_id)
    return f"out.{call.shard}.{ws}.{call.session}.{call_id}.{pack}"


def chunk(ws: str, call_id: str, number: int) -> str:
    """Where the `number`-th chunk (from 0) of a generator call's values is published."""
    return result(ws, call_id, f"g{number}")


def results_of_call(ws: str, call_id: str) -> str:
    """Filter for all results of one call, as published."""
    return result(ws, call_id, "*")


def stored_results_of_session(ws: str, session: str) -> str:
    """Subscription for every result that the stream stores for one client session."""
    return f"res.*.{ws}.{session}.>"


def stored_results_of_call(ws: str, call_id: str) -> str:
    """Subscription for every result that the stream stores for one call."""
    call = parse_call_id(call_id)
    return f"res.{call.shard}.{ws}.{call.session}.{call_id}.*"


class ResultSubject(NamedTuple):
    """The parts of a result's subject; exactly one of `pack` and `chunk` is set."""

    ws: str
    call_id: str
    pack: Pack | None
    chunk: int | None


def parse_result(subject: str) -> ResultSubject:
    """Split the subject of a result, published (`out.`) or stored (`res.`). Raises ValueError otherwise."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] not in ("out", "res"):
        raise ValueError(f"expected out.<s>.<ws>.<session>.<call>.<pack>, got {subject!r}")
    last = parts[5]
    if last.startswith("g") and last[1:].isdecimal():
        return ResultSubject(parts[2], parts[4], None, int(last[1:]))
    return ResultSubject(parts[2], parts[4], parse_pack(last), None)


# -- logs and events ------------------------------------------------------------------------------


def log(ws: str, app_id: str, function_id: str, container_id: str) -> str:
    """Where the output of one container is published."""
    return f"log.{ws}.{app_id}.{function_id}.{container_id}"


def logs_of_app(ws: str, app_id: str) -> str:
    """Subscription for the output of all containers of an app."""
    return f"log.{ws}.{app_id}.>"


def event(ws: str, app_id: str, function_id: str = "-", call_id: str = "-") -> str:
    """Where an event is published; `-` stands where it concerns no single function or call."""
    return f"ev.{ws}.{app_id}.{function_id}.{call_id}"


def events_of_app(ws: str, app_id: str) -> str:
    """Subscription for all events of an app."""
    return f"ev.{ws}.{app_id}.>"


# -- wake-ups and control (core only, at most once; a sweep reconciles them) ------------------------


def wake(shard: int) -> str:
    """Where a client says that a function of this shard has new inputs."""
    return f"wake.{shard}"


ALL_WAKES: Final = "wake.*"


def call_control(ws: str, call_id: str) -> str:
    """Where cancellations and generator credit for one call are published."""
    return f"ctl.call.{ws}.{call_id}"


ALL_CALL_CONTROL: Final = "ctl.call.>"


def worker_api(worker_id: str, verb: str) -> str:
    """Request subject of one endpoint of one worker."""
    return f"ctl.w.{worker_id}.{verb}"


def container_waits(worker_id: str) -> str:
    """Where the containers of a worker tell that they wait for calls of their own. Core only, no reply."""
    return worker_api(worker_id, "waits")


def container_children(worker_id: str) -> str:
    """Where the containers of a worker tell which calls their inputs made. Core only, no reply."""
    return worker_api(worker_id, "children")


# -- schedules ------------------------------------------------------------------------------------


def schedule(ws: str, schedule_id: str) -> str:
    """Where a schedule is kept."""
    return f"cron.{ws}.{schedule_id}"


def tick(ws: str, schedule_id: str) -> str:
    """Where a schedule fires."""
    return f"tick.{ws}.{schedule_id}"


# -- key-value ------------------------------------------------------------------------------------


def kv(bucket: str, key: str) -> str:
    """Subject of a key in a bucket."""
    return f"$KV.{bucket}.{key}"


def kv_feed(bucket: str, key: str = ">") -> str:
    """Subject under which committed changes of a bucket are republished."""
    return f"kv.{bucket}.{key}"


def app_key(ws: str, app_id: str) -> str:
    """Key of an app's record in REG."""
    return f"app.{ws}.{app_id}"


def function_key(ws: str, function_id: str) -> str:
    """Key of a function's record in REG."""
    return f"fn.{ws}.{function_id}"


def session_of(call_id: str) -> str:
    """The client session that a call id belongs to."""
    return parse_call_id(call_id).session


def shard_of(call_id: str) -> int:
    """The shard that a call id names."""
    return parse_call_id(call_id).shard
