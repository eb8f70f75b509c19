"""Every stream, bucket and consumer of the platform, declared as data.

`assets()` says what must exist; `afield_common.store` makes it so, idempotently. The reasons behind each
setting are facts of NATS JetStream 2.15, each covered by a test in tests/integration/bus.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from afield._wire import subjects
from afield._wire.subjects import Lane

DAY: Final = 86_400
"""Seconds."""

INLINE_LIMIT: Final = 256 * 1024
"""Bytes of payload that travel inside a message; anything larger goes to a blob (claim check)."""

BLOB_CHUNK: Final = 256 * 1024
"""Bytes per chunk of a blob in the stream tier; 128 to 512 KiB measured fastest from Python."""

DUPLICATE_WINDOW: Final = 120
"""Seconds in which a message id published twice is stored once."""

ACK_WAIT: Final = 10
"""Seconds until a delivery whose worker went silent is given to another. Workers report progress every third of it."""

MAX_LOSSES: Final = 8
"""Deliveries of an input that end with the loss of its container or worker before it fails for good."""

RESULT_TTL: Final = {"call": 600, "map": 3600, "generator": 3600, "spawn": 7 * DAY}
"""Seconds that a result is kept, by the kind of its call. Nobody but the caller who waits asks for a `call`; its result
must only outlast an outage of the connection. Those of maps and generators are purged when they have been taken."""

WORKER_TTL: Final = 15
"""Seconds without a heartbeat after which a worker counts as dead; it beats every third of it."""

LEASE_TTL: Final = 5
"""Seconds after which the lease of a dead leader can be taken; it is renewed every 1.5 s."""


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """A stream: its name, its subjects and the JetStream configuration that differs from the defaults.

    `config` uses the names and units of the server's JSON API (durations are nanoseconds).
    """

    name: str
    subjects: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)


def _seconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


_FIRST_WINS: Final = {"discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 1}
"""One message a subject, and the first stays: a second publisher gets error 10077, a retry of the first an ack."""


def input_stream(shard: int, *, max_bytes: int = -1) -> StreamSpec:
    """The work queue of one shard. An input leaves it when its result is stored.

    A full one refuses new inputs and keeps those that it has. `max_bytes`: -1 for no bound.
    """
    return StreamSpec(
        name=subjects.input_stream(shard),
        subjects=(f"in.{shard}.>",),
        config={
            "retention": "workqueue",
            "storage": "file",
            "allow_atomic": True,
            "allow_direct": True,
            "duplicate_window": _seconds(DUPLICATE_WINDOW),
            "max_age": _seconds(7 * DAY),
            # 2.15 caps consumers at 1000 a stream unless told otherwise.
            "max_consumers": 100_000,
            "max_bytes": max_bytes,
            **_FIRST_WINS,
        },
    )


RESULTS: Final = StreamSpec(
    name=subjects.RESULTS_STREAM,
    subjects=("out.>",),
    config={
        "storage": "file",
        "allow_direct": True,
        "allow_msg_ttl": True,
        "duplicate_window": _seconds(DUPLICATE_WINDOW),
        "max_age": _seconds(7 * DAY),
        # A plain subscriber to out.> would also see results that the stream refuses.
        "republish": {"src": "out.>", "dest": "res.>"},
        **_FIRST_WINS,
    },
)

LOGS: Final = StreamSpec(
    name="LOGS",
    subjects=("log.>",),
    config={
        "storage": "file",
        "persist_mode": "async",
        "compression": "s2",
        "discard": "old",
        "max_age": _seconds(7 * DAY),
        "max_bytes": 4 * 2**30,
        "allow_direct": True,
    },
)

EVENTS: Final = StreamSpec(
    name="EVENTS",
    subjects=("ev.>",),
    config={
        "storage": "file",
        "persist_mode": "async",
        "compression": "s2",
        "discard": "old",
        "max_age": _seconds(7 * DAY),
        "max_bytes": 1 * 2**30,
        "allow_direct": True,
    },
)

CRON: Final = StreamSpec(
    name="CRON",
    subjects=("cron.>", "tick.>"),
    # Message schedules exclude discard: new, hence a stream of their own.
    config={"retention": "workqueue", "storage": "file", "allow_msg_schedules": True, "allow_msg_ttl": True},
)


def _bucket(name: str, *, history: int, **config: Any) -> StreamSpec:
    """A key-value bucket, in the layout that every NATS client and `nats kv` read."""
    return StreamSpec(
        name=f"KV_{name}",
        subjects=(f"$KV.{name}.>",),
        config={
            "max_msgs_per_subject": history,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            **config,
        },
    )


def _object_bucket(name: str, **config: Any) -> StreamSpec:
    """An object bucket, in the layout that `nats obj` reads."""
    return StreamSpec(
        name=f"OBJ_{name}",
        subjects=(f"$O.{name}.C.>", f"$O.{name}.M.>"),
        config={
            "storage": "file",
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            **config,
        },
    )


REG: Final = _bucket("REG", history=5, storage="file", republish={"src": "$KV.REG.>", "dest": "kv.REG.>"})
"""Registry state: compare-and-set, and committed changes republished as kv.REG.>."""

LEASE: Final = _bucket("LEASE", history=1, storage="file", allow_msg_ttl=True)
"""Leases. No limit markers: with them, a lapsed lease could not be taken until its marker lapsed too."""

WORKERS: Final = _bucket(
    "WORKERS",
    history=1,
    storage="file",
    allow_msg_ttl=True,
    subject_delete_marker_ttl=_seconds(60),
    republish={"src": "$KV.WORKERS.>", "dest": "kv.WORKERS.>"},
)
"""Heartbeats. History 1, or the server raises every TTL to the marker's; the marker tells of a death.

In a file: a memory stream is gone after a restart of the server, and all workers would seem dead at once."""

CODE: Final = _object_bucket("CODE", max_bytes=4 * 2**30)
"""Source bundles and serialised functions, named by their SHA-256."""

TMP: Final = _object_bucket("TMP", max_bytes=16 * 2**30, max_age=_seconds(DAY))
"""Payloads over INLINE_LIMIT, gone with their call, after a day at the latest."""


LEAST_BYTES: Final = {"LOGS": 16 * 2**20, "EVENTS": 4 * 2**20, "OBJ_CODE": 128 * 2**20, "OBJ_TMP": 64 * 2**20}
"""Bytes below which a stream that reserves some is of no use: the largest source bundle must fit into CODE."""

RESERVED_SHARE: Final = 0.5
"""Share of a server's storage that these streams may reserve; inputs and results need the rest."""

INPUTS_SHARE: Final = 0.25
"""Share of a server's storage that all inputs together may take. Were it all, no result could be stored any more, and no
input would ever leave."""

LEAST_INPUTS: Final = 32 * 2**20
"""Bytes that all inputs together may take on the smallest server."""

STORAGE_WANTED: Final = int(
    sum(spec.config["max_bytes"] for spec in (LOGS, EVENTS, CODE, TMP)) / RESERVED_SHARE
)
"""Bytes of storage from which nothing is scaled down."""

REPLICAS: Final = (1, 3, 5)
"""Copies of each stream that make sense: two survive no more than one does."""

LEAST_STORAGE: Final = 64 * 2**20
"""Bytes of storage below which everything is at LEAST_BYTES."""


def assets(shards: int, storage: int = STORAGE_WANTED, replicas: int = 1) -> tuple[StreamSpec, ...]:
    """Everything that must exist on the server, for a platform with this many input shards.

    `storage`: bytes that the server can store. What LOGS, EVENTS, CODE and TMP reserve is scaled down to
    RESERVED_SHARE of it, in proportion, though never below LEAST_BYTES; the input streams get INPUTS_SHARE.
    `replicas`: servers of a cluster that keep each stream; consumers have as many as their stream.
    """
    if not 1 <= shards <= 64:
        raise ValueError(f"expected 1 to 64 input shards, got {shards}")
    if replicas not in REPLICAS:
        raise ValueError(f"expected 1, 3 or 5 replicas, got {replicas}")
    room = max(LEAST_INPUTS, int(storage * INPUTS_SHARE)) // shards
    inputs = tuple(input_stream(shard, max_bytes=room) for shard in range(shards))
    share = min(1.0, storage / STORAGE_WANTED)
    logs, events, code, tmp = (_scaled(spec, share) for spec in (LOGS, EVENTS, CODE, TMP))
    specs = (*inputs, RESULTS, logs, events, CRON, REG, LEASE, WORKERS, code, tmp)
    return specs if replicas == 1 else tuple(_replicated(spec, replicas) for spec in specs)


def _replicated(spec: StreamSpec, replicas: int) -> StreamSpec:
    # Only a stream with a single copy may be written to disk later than it says.
    config = {name: value for name, value in spec.config.items() if name != "persist_mode"}
    return replace(spec, config={**config, "num_replicas": replicas})


def _scaled(spec: StreamSpec, share: float) -> StreamSpec:
    size = max(LEAST_BYTES[spec.name], int(spec.config["max_bytes"] * share))
    return replace(spec, config={**spec.config, "max_bytes": size})


def consumer_config(ws: str, function_id: str, shard: int, lane: Lane) -> dict[str, Any]:
    """The durable pull consumer of one function's lane (names and units of the server's JSON API)."""
    return {
        "durable_name": subjects.input_consumer(ws, function_id, lane),
        "filter_subject": subjects.inputs_of_function(shard, ws, function_id, lane),
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": _seconds(ACK_WAIT),
        # The number of tries is our rule, not the server's: with max_deliver a corpse would stay in the stream.
        "max_deliver": -1,
        # Deliveries that wait for their retry count as pending: a bound would stop the whole function.
        "max_ack_pending": -1,
        "max_waiting": 4096,
        "inactive_threshold": _seconds(3600),
    }
