"""Streams and consumers for tests, made by the raw API."""

import json
from itertools import count
from typing import Any

from afield._bus import Bus
from afield._wire.streams import StreamSpec

_numbers = count(1)

FIRST_WINS = {"discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 1}


def fresh(prefix: str) -> str:
    """Return a name that no other test of this process uses."""
    return f"{prefix}{next(_numbers)}"


async def api(bus: Bus, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Call JetStream's API; raises AssertionError with its error."""
    reply = await bus.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"")
    answer: dict[str, Any] = json.loads(reply.data)
    assert "error" not in answer, answer["error"]
    return answer


async def make_stream(bus: Bus, **config: Any) -> str:
    """Make a stream and return its name; it takes `<name>.>` unless told otherwise."""
    name = fresh("S")
    body = {"name": name, "subjects": [f"{name}.>"], "allow_direct": True, **config}
    await api(bus, f"STREAM.CREATE.{name}", body)
    return name


async def make_asset(bus: Bus, spec: StreamSpec) -> None:
    """Make a stream of the platform, if it is not there."""
    await api(
        bus, f"STREAM.CREATE.{spec.name}", {"name": spec.name, "subjects": spec.subjects, **spec.config}
    )


async def make_bucket(bus: Bus, **config: Any) -> str:
    """Make a key-value bucket with republished changes, and return its name."""
    name = fresh("B")
    body = {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
        "republish": {"src": f"$KV.{name}.>", "dest": f"kv.{name}.>"},
        **config,
    }
    await api(bus, f"STREAM.CREATE.KV_{name}", body)
    return name


async def make_queue(bus: Bus, **consumer: Any) -> tuple[str, str]:
    """Make a work queue with one consumer; return the names of both."""
    stream = await make_stream(bus, retention="workqueue")
    config = {
        "durable_name": "worker",
        "ack_policy": "explicit",
        "filter_subject": f"{stream}.>",
        "max_ack_pending": -1,
        **consumer,
    }
    await api(bus, f"CONSUMER.CREATE.{stream}.worker.{stream}.>", {"stream_name": stream, "config": config})
    return stream, "worker"


async def stored(bus: Bus, stream: str) -> int:
    """Return how many messages a stream holds."""
    messages: int = (await api(bus, f"STREAM.INFO.{stream}"))["state"]["messages"]
    return messages
