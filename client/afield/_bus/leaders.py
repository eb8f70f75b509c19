"""Requests to streams and consumers that may be without a leader for a while, and reads that must not be stale.

On a cluster each stream has a leader. After the loss of its server the others elect another one, which takes 4 to 9
seconds; until then nobody answers, or the answer is that there is no leader. And a direct get may be answered by any
server that keeps the stream: one that is a few milliseconds behind does not know yet what was acknowledged just now.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import anyio

from afield._bus.direct import StoredMessage
from afield._bus.errors import ApiRefusedError, BusTimeoutError, NoRespondersError
from afield._bus.msg import Msg, parse_headers

if TYPE_CHECKING:
    from afield._bus.connection import Bus

IN_PROCESS: Final = 10158
"""A message of this id was proposed to the other servers of a cluster, which have not agreed yet. Sent again later, it is
known by then, or was lost."""

TRANSIENT: Final = frozenset({10008, 10009, IN_PROCESS})
"""JetStream has no leader at the moment, or cannot say yet; worth another try."""

ELECTION_S: Final = 20.0
"""Seconds that a cluster may take to elect a leader, twice in a row."""

ATTEMPT_S: Final = 3.0
"""Seconds without an answer after which a cluster is asked again: the leader died with the question."""

NOT_FOUND: Final = 10037


async def ask_leader(
    bus: "Bus",
    subject: str,
    payload: bytes = b"",
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
) -> Msg:
    """Send a request that may be carried out twice to a stream's leader, or to JetStream's, and return the reply.

    A single server is asked once. A cluster is asked again while it has no leader, until `timeout` seconds are over.
    Raises as Bus.request; a refusal is in the reply, as ever.
    """
    if not bus.clustered:
        return await bus.request(subject, payload, timeout=timeout, headers=headers, repeat=True)
    deadline = asyncio.get_running_loop().time() + timeout
    pause = 0.05
    while True:
        left = deadline - asyncio.get_running_loop().time()
        last = left <= ATTEMPT_S
        try:
            reply = await bus.request(
                subject, payload, timeout=max(0.1, min(left, ATTEMPT_S)), headers=headers, repeat=True
            )
            if last or not _leaderless(reply.data):
                return reply
        except (NoRespondersError, BusTimeoutError):
            if last:
                raise
        await anyio.sleep(pause)  # no event tells of an election
        pause = min(pause * 2, 0.5)


def _leaderless(data: bytes) -> bool:
    """Tell whether a reply of JetStream says that there is no leader."""
    if b'"err_code"' not in data[:400]:
        return False
    try:
        return (json.loads(data).get("error") or {}).get("err_code") in TRANSIENT
    except ValueError:
        return False


async def read_last(bus: "Bus", stream: str, subject: str, *, timeout: float = 10.0) -> StoredMessage | None:
    """Return the last message stored under `subject`, None if there is none, as the stream's leader knows it.

    For reads after writes. Unlike `get_last` it needs the right to read the whole stream, and one server bears all of it.
    Raises NoRespondersError, BusTimeoutError, ApiRefusedError.
    """
    api = f"$JS.API.STREAM.MSG.GET.{stream}"
    reply = await ask_leader(bus, api, json.dumps({"last_by_subj": subject}).encode(), timeout=timeout)
    answer = json.loads(reply.data)
    error = answer.get("error")
    if error:
        if error.get("err_code") == NOT_FOUND:
            return None
        raise ApiRefusedError(api, error.get("err_code", 0), error.get("description", ""))
    found = answer["message"]
    headers = parse_headers(base64.b64decode(found.get("hdrs", "")))
    headers |= {
        "Nats-Subject": found["subject"],
        "Nats-Sequence": str(found["seq"]),
        "Nats-Time-Stamp": found["time"],
    }
    return StoredMessage(headers, base64.b64decode(found.get("data", "")))
