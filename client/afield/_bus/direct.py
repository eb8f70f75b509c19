"""Reading stored messages without a consumer (direct get)."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

from afield._bus.errors import ApiRefusedError
from afield._bus.msg import DESCRIPTION, STATUS, Msg, check_subject, parse_headers, status_of

if TYPE_CHECKING:
    from afield._bus.connection import Bus

PAGE_BYTES = 8 * 2**20
"""Bytes of one page, unless told otherwise."""


class StoredMessage:
    """A message as its stream keeps it."""

    __slots__ = ("data", "headers", "seq", "subject")

    def __init__(self, headers: dict[str, str], data: bytes) -> None:
        self.subject = headers["Nats-Subject"]
        self.seq = int(headers["Nats-Sequence"])
        self.headers = headers
        self.data = data

    @property
    def time(self) -> float:
        """When it was stored, Unix time in seconds, by the server's clock."""
        return datetime.fromisoformat(self.headers["Nats-Time-Stamp"]).timestamp()

    def __repr__(self) -> str:
        return f"StoredMessage({self.subject!r}, seq={self.seq}, {len(self.data)} bytes)"


async def get_last(bus: "Bus", stream: str, subject: str, *, timeout: float = 10.0) -> StoredMessage | None:
    """Return the last message stored under `subject`, None if there is none.

    Uses the subject form of the API, which a client may be allowed for its own subjects only. Raises NoRespondersError
    (no such stream, or it allows no direct gets), BusTimeoutError.
    """
    reply = await bus.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=timeout, repeat=True)
    return _stored(reply)


async def get_newest(
    bus: "Bus",
    stream: str,
    filter: str,  # noqa: A002 - the API's word
    *,
    timeout: float = 10.0,
) -> StoredMessage | None:
    """Return the message stored last of those whose subjects match `filter`, None if there is none. Raises as get_last."""
    check_subject(filter)
    body = json.dumps({"last_by_subj": filter}).encode()
    reply = await bus.request(f"$JS.API.DIRECT.GET.{stream}", body, timeout=timeout, repeat=True)
    return _stored(reply)


def _stored(reply: Msg) -> StoredMessage | None:
    headers = reply.headers
    status = headers.get(STATUS)
    if status == "404":
        return None
    if status is not None:
        raise ApiRefusedError(reply.subject, int(status), headers.get(DESCRIPTION, ""))
    return StoredMessage(headers, reply.data)


class _Page:
    """Collects the messages of one page."""

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []

    def restart(self) -> None:
        self.messages.clear()

    def add(self, raw_headers: bytes | None, data: bytes) -> bool:
        if status_of(raw_headers):
            return True
        self.messages.append(StoredMessage(parse_headers(raw_headers), data))
        return False


async def get_next_batch(
    bus: "Bus",
    stream: str,
    filter: str,  # noqa: A002 - the API's word
    *,
    start_seq: int = 1,
    batch: int = 256,
    max_bytes: int = PAGE_BYTES,
    timeout: float = 30.0,
) -> tuple[list[StoredMessage], bool]:
    """Return messages whose subjects match `filter`, in order from `start_seq` on, and whether there are more.

    A page holds up to `batch` messages and about `max_bytes` bytes; go on with `start_seq` behind the last sequence.
    Raises NoRespondersError, BusTimeoutError, ApiRefusedError.
    """
    check_subject(filter)
    body = {"next_by_subj": filter, "batch": batch, "max_bytes": max_bytes, "seq": max(1, start_seq)}
    page = _Page()
    end = await bus.request(
        f"$JS.API.DIRECT.GET.{stream}",
        json.dumps(body).encode(),
        timeout=timeout,
        repeat=True,
        collector=page,
    )
    status = end.headers[STATUS]
    if status == "404":  # also the answer when nothing follows start_seq
        return page.messages, False
    if status != "204":
        raise ApiRefusedError(end.subject, int(status), end.headers.get(DESCRIPTION, ""))
    return page.messages, int(end.headers.get("Nats-Num-Pending", "0")) > 0


async def get_all(bus: "Bus", stream: str, filter: str, *, start_seq: int = 1) -> list[StoredMessage]:  # noqa: A002
    """Return all messages whose subjects match `filter`, from `start_seq` on. Raises as get_next_batch."""
    found: list[StoredMessage] = []
    more = True
    while more:
        page, more = await get_next_batch(bus, stream, filter, start_seq=start_seq)
        found += page
        more = more and bool(page)
        if page:
            start_seq = page[-1].seq + 1
    return found
