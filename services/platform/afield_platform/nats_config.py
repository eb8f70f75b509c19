"""The configuration of nats-server: who may do what, and where it keeps things.

`render` gives the configuration as a dict; nats-server reads JSON. Each role has a user of its own with the least
permissions that its work needs; an allow list denies everything else. The roles:

`registry` `scheduler` `worker` `gateway`   the services
`client`                                     a program on this host that runs apps
`guest`                                      user code in a container: it calls functions, and manages nothing
`operator`                                   a person with the `nats` command: everything
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from afield._wire import subjects
from afield_platform.roles import Role, SecretName

_API: Final = "$JS.API"
_ALL: Final = ">"


class Grant(NamedTuple):
    """What one role may publish and subscribe to. With `answers`, it may also reply to what it receives."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


def grants(shards: int) -> dict[Role, Grant]:
    """Return what each role may do on a platform with this many input shards."""
    inputs = [subjects.input_stream(shard) for shard in range(shards)]
    return {
        "registry": _registry(inputs),
        "scheduler": _scheduler(inputs),
        "worker": _worker(inputs),
        "gateway": _gateway(),
        "client": _client(),
        "guest": _guest(),
        "operator": Grant(publish=(_ALL,), subscribe=(_ALL,)),
    }


class Peers(NamedTuple):
    """The cluster that a server is part of. All its servers have the same users, and names of their own."""

    cluster: str
    listen: str
    """`host:port` where the other servers connect."""
    routes: tuple[str, ...]
    """`nats://host:port` of every server of the cluster; a server's own is harmless."""


def render(
    *,
    port: int,
    store: Path,
    secrets: Mapping[SecretName, str],
    shards: int,
    name: str,
    sync: str = "10s",
    peers: Peers | None = None,
) -> dict[str, Any]:
    """Return the configuration of a server: the only one, or with `peers` one of a cluster.

    `sync` is how often JetStream flushes to disk: a kill of the server loses nothing, a power cut at most this much.
    """
    permitted = grants(shards)
    together = {"cluster": _cluster(peers)} if peers is not None else {}
    return {
        **together,
        "server_name": name,
        "listen": f"127.0.0.1:{port}",
        # Python clients that are busy for a while must not be thrown out for it.
        "max_pending": 256 * 2**20,
        "write_deadline": "20s",
        "ping_interval": "20s",
        "jetstream": {
            "store_dir": str(store),
            "sync_interval": sync,
            # What buckets reserve must fit; left alone, the server takes three quarters of the free disk.
            "max_file_store": 2**40,
            "max_memory_store": 256 * 2**20,
            # The default of 1000 consumers a stream is two lanes of 500 functions.
            "limits": {"default_max_consumers": -1},
        },
        "authorization": {
            "timeout": 5,
            "users": [_user(role, secrets[role], permitted[role]) for role in get_args(Role)],
        },
    }


def _cluster(peers: Peers) -> dict[str, Any]:
    return {"name": peers.cluster, "listen": peers.listen, "routes": list(peers.routes)}


def _user(role: Role, password: str, grant: Grant) -> dict[str, Any]:
    permissions: dict[str, Any] = {
        "publish": {"allow": list(grant.publish)},
        "subscribe": {"allow": list(grant.subscribe)},
    }
    if grant.answers:
        # The server counts a request once for each subscription that it reaches, and a registry hears heartbeats twice.
        permissions["allow_responses"] = {"max": 2, "expires": "5m"}
    return {"user": role, "password": password, "permissions": permissions}


# -- pieces -----------------------------------------------------------------------------------------


def _inbox(role: Role) -> str:
    """Inboxes are named for their user, so that nobody can listen to another's answers."""
    return f"_INBOX.{role}.>"


def _api(verb: str, *streams: str, below: str = "") -> tuple[str, ...]:
    return tuple(f"{_API}.{verb}.{stream}{below}" for stream in streams)


def _read(*streams: str) -> tuple[str, ...]:
    """Direct gets of one message by its subject (a token and more below the stream) and of many (none); reads by the leader."""
    one = _api("DIRECT.GET", *streams, below=".>")
    return (*_api("DIRECT.GET", *streams), *one, *_api("STREAM.MSG.GET", *streams))


def _blobs(bucket: str) -> tuple[str, ...]:
    """Put, read and remove objects."""
    stream = f"OBJ_{bucket}"
    return (f"$O.{bucket}.>", *_read(stream), *_api("STREAM.PURGE", stream), *_api("STREAM.INFO", stream))


_LOOK: Final = (f"{_API}.INFO", f"{_API}.STREAM.NAMES", f"{_API}.STREAM.LIST", f"{_API}.STREAM.INFO.*")
_DISCOVERY: Final = "$SRV.>"


# -- roles ------------------------------------------------------------------------------------------


def _registry(inputs: list[str]) -> Grant:
    return Grant(
        publish=(
            *_LOOK,
            f"{_API}.STREAM.CREATE.*",
            f"{_API}.STREAM.UPDATE.*",
            *_api("STREAM.PURGE", *inputs, "KV_REG"),
            *_api("CONSUMER.CREATE", *inputs, below=".>"),
            *_api("CONSUMER.DURABLE.CREATE", *inputs, below=".*"),
            *_api("CONSUMER.DELETE", *inputs, below=".*"),
            *_api("CONSUMER.INFO", *inputs, below=".*"),
            *_api("CONSUMER.LIST", *inputs),
            *_api("CONSUMER.NAMES", *inputs),
            *_read("KV_REG", *inputs),
            "$KV.REG.>",
            "out.>",  # the end of inputs whose app is stopped
            "ev.>",
            "wake.*",
            "ctl.w.*.*",
        ),
        subscribe=(_inbox("registry"), "registry.>", "kv.REG.>", _DISCOVERY),
        answers=True,
    )


def _scheduler(inputs: list[str]) -> Grant:
    return Grant(
        publish=(
            *_LOOK,
            *_api("STREAM.PURGE", *inputs, subjects.RESULTS_STREAM),
            *_api("CONSUMER.CREATE", *inputs, below=".>"),
            *_api("CONSUMER.DURABLE.CREATE", *inputs, below=".*"),
            *_api("CONSUMER.INFO", *inputs, below=".*"),
            *_api("CONSUMER.LIST", *inputs),
            *_read("KV_REG", "KV_WORKERS", "KV_LEASE", "EVENTS", subjects.RESULTS_STREAM, *inputs),
            "$KV.LEASE.>",
            "$KV.WORKERS.*",  # records that outlived their workers are removed
            "in.>",  # a pack that is cancelled in part goes on in smaller ones
            "out.>",
            "ev.>",
            "ctl.w.*.*",
            "ctl.call.*.*",
            "registry.function.get",
        ),
        subscribe=(
            _inbox("scheduler"),
            "scheduler.>",
            "wake.*",
            "ev.>",
            "kv.REG.>",
            "kv.WORKERS.>",
            "$KV.LEASE.>",
            _DISCOVERY,
        ),
        answers=True,
    )


def _worker(inputs: list[str]) -> Grant:
    return Grant(
        publish=(
            *_LOOK,
            *_api("CONSUMER.MSG.NEXT", *inputs, below=".*"),
            *_api("CONSUMER.INFO", *inputs, below=".*"),
            *(f"$JS.ACK.{stream}.>" for stream in inputs),
            # The newer form of the same, which a server may be told to use.
            *(f"$JS.ACK.*.*.{stream}.>" for stream in inputs),
            *_read("KV_REG", "KV_WORKERS", subjects.RESULTS_STREAM),
            *_api("STREAM.MSG.GET", *inputs),  # has an input gone on that comes again?
            "in.>",  # an input's next attempt
            "out.>",
            "log.>",
            "ev.>",
            "wake.*",
            "$KV.WORKERS.>",
            "scheduler.call.cancel",  # what an input called is cancelled with it
            *_blobs("TMP"),
            *_read("OBJ_CODE"),
        ),
        subscribe=(_inbox("worker"), "ctl.w.*.*", subjects.ALL_CALL_CONTROL, "kv.REG.>", _DISCOVERY),
        answers=True,
    )


_CALL: Final = (
    "in.*.*.>",
    "wake.*",
    "registry.function.get",
    "registry.function.bind",
    "registry.app.get",
    "scheduler.call.>",
    "scheduler.function.>",
    "ctl.call.*.*",
    # By subject only: the form with a body reads the whole stream.
    *_api("DIRECT.GET", subjects.RESULTS_STREAM, below=".out.>"),
    *_blobs("TMP"),
)
"""What it takes to call functions and to have their results."""


def _client() -> Grant:
    return Grant(
        publish=(*_CALL, "registry.>", "scheduler.fleet.>", *_blobs("CODE")),
        subscribe=(_inbox("client"), "res.>", "log.>", "ev.>"),
    )


def _guest() -> Grant:
    return Grant(
        publish=(*_CALL, subjects.container_waits("*"), subjects.container_children("*")),
        subscribe=(_inbox("guest"), "res.>"),
    )


def _gateway() -> Grant:
    return Grant(
        publish=(
            *_CALL,
            "registry.>",
            "scheduler.fleet.>",
            *_LOOK,
            *_read("KV_REG", "KV_WORKERS", "LOGS", "EVENTS", subjects.RESULTS_STREAM),
            "$SRV.>",
        ),
        subscribe=(
            _inbox("gateway"),
            "res.>",
            "log.>",
            "ev.>",
            "kv.REG.>",
            "kv.WORKERS.>",
            "gateway.>",
            _DISCOVERY,
        ),
        answers=True,
    )
