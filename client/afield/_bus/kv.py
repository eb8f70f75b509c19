"""Key-value buckets: compare-and-set with times to live, and snapshots, without watchers or consumers."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from afield._bus.direct import StoredMessage, get_all
from afield._bus.errors import ConflictError, PublishRefusedError
from afield._bus.leaders import ask_leader, read_last
from afield._bus.msg import ttl_header
from afield._bus.publisher import WRONG_REVISION, WRONG_REVISION_CONST, read_ack

if TYPE_CHECKING:
    from afield._bus.connection import Bus

_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*\Z")

OPERATION: Final = "KV-Operation"
MARKER_REASON: Final = "Nats-Marker-Reason"


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value."""

    key: str
    data: bytes
    revision: int
    """The sequence in the bucket's stream: it grows with every change of any key."""
    stored_at: float | None = field(default=None, compare=False)
    """When it was stored: Unix time by the server's clock. None for a change that is heard as it happens."""


def is_deletion(headers: dict[str, str]) -> bool:
    """Tell whether a message of a bucket says that its key is gone.

    The server's own markers (a key whose time ran out) carry no `KV-Operation` of ours but a reason; nats-py overlooks
    them, and takes such a key for one with an empty value.
    """
    return headers.get(OPERATION, "PUT") != "PUT" or MARKER_REASON in headers


class Bucket:
    """The bucket `name` (stream `KV_<name>`), which must exist and allow direct gets.

    Times to live are in seconds, rounded up to whole ones, and need a bucket that allows them. Writes are repeated when
    their answer is lost, and take effect once. All methods raise NoRespondersError when the bucket does not exist and
    BusTimeoutError after `timeout` seconds.
    """

    def __init__(self, bus: "Bus", name: str, *, timeout: float = 10.0) -> None:
        self.bus = bus
        self.name = name
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._timeout = timeout

    def subject(self, key: str) -> str:
        """Return the subject of `key`. Raises ValueError for what cannot be a key."""
        if not _KEY.match(key):
            raise ValueError(
                f"expected a key of letters, digits and - _ = / with single dots between, got {key!r}"
            )
        return self._prefix + key

    def key(self, subject: str) -> str:
        """Return the key of a subject of this bucket."""
        return subject[len(self._prefix) :]

    async def get(self, key: str) -> Entry | None:
        """Return the entry, None if there is none (any more)."""
        stored = await self._last(key)
        if stored is None or is_deletion(stored.headers):
            return None
        return Entry(key, stored.data, stored.seq, stored.time)

    async def put(self, key: str, data: bytes, ttl: float | None = None) -> int:
        """Set the value whatever it was; returns the revision."""
        return await self._write(key, data, None, ttl)

    async def create(
        self, key: str, data: bytes, ttl: float | None = None, *, timeout: float | None = None
    ) -> int:
        """Set the value of a key that has none; returns the revision. Raises ConflictError if it has one."""
        try:
            return await self._write(key, data, 0, ttl, timeout=timeout)
        except ConflictError:
            # Behind a deletion or an expiry there may still be a message: its sequence is what must be expected.
            stored = await self._last(key)
            if stored is not None and not is_deletion(stored.headers):
                raise
            expected = 0 if stored is None else stored.seq
        try:
            return await self._write(key, data, expected, ttl, timeout=timeout)
        except ConflictError:
            raise ConflictError(self.name, key, 0) from None

    async def update(
        self, key: str, data: bytes, revision: int, ttl: float | None = None, *, timeout: float | None = None
    ) -> int:
        """Set the value if it still has this revision; returns the new one. Raises ConflictError if it has another."""
        return await self._write(key, data, revision, ttl, timeout=timeout)

    async def delete(self, key: str, revision: int | None = None, ttl: float | None = None) -> None:
        """Remove the key, if given only at this revision (ConflictError). `ttl` is that of the marker left behind."""
        await self._write(key, b"", revision, ttl, {OPERATION: "DEL"})

    async def snapshot(self, prefix: str = ">") -> list[Entry]:
        """Return all entries whose keys match `prefix` (`>` all, `app.main.>` some, or one key), by revision.

        It is a point in time only as far as nothing changes while it is read, and on a cluster it may lack what was
        written in the last moments; Feed takes care of both.
        """
        latest: dict[str, StoredMessage] = {}
        for stored in await get_all(self.bus, self.stream, self._prefix + prefix):
            latest[stored.subject] = stored
        alive = [s for s in latest.values() if not is_deletion(s.headers)]
        entries = (Entry(self.key(s.subject), s.data, s.seq, s.time) for s in alive)
        return sorted(entries, key=lambda e: e.revision)

    # -- inside ---------------------------------------------------------------------------------------

    async def _last(self, key: str) -> StoredMessage | None:
        return await read_last(self.bus, self.stream, self.subject(key), timeout=self._timeout)

    async def _write(
        self,
        key: str,
        data: bytes,
        expected: int | None,
        ttl: float | None,
        extra: dict[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        subject = self.subject(key)
        msg_id = self.bus.fresh_id()
        headers = {"Nats-Msg-Id": msg_id, **(extra or {})}
        if expected is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
        if ttl is not None:
            headers["Nats-TTL"] = ttl_header(ttl)
        reply = await ask_leader(
            self.bus, subject, data, timeout=self._timeout if timeout is None else timeout, headers=headers
        )
        try:
            return read_ack(subject, reply.data).seq
        except PublishRefusedError as error:
            if expected is None or error.err_code not in (WRONG_REVISION, WRONG_REVISION_CONST):
                raise
        # The server compares revisions before it looks at message ids. So when an answer was lost and the write was
        # repeated, our own success looks like a conflict: the message that won may be ours.
        stored = await self._last(key)
        if stored is not None and stored.headers.get("Nats-Msg-Id") == msg_id:
            return stored.seq
        raise ConflictError(self.name, key, expected)
