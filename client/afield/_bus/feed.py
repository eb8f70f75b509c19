"""The committed changes of a bucket, kept complete."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from afield._bus.errors import BusError
from afield._bus.kv import Bucket, Entry, is_deletion
from afield._bus.msg import parse_headers
from afield._bus.subscription import Subscription

log = logging.getLogger("afield.bus")

RESYNC = 60.0
"""Seconds between comparisons with the bucket, besides those after each reconnect."""

RESYNC_AGAIN = 2.0
"""Seconds until a comparison on a cluster is repeated: it may have been with a server that was a little behind."""

RETRY = 0.5
"""Seconds between attempts to read the bucket."""


class Feed:
    """Calls back for every key of a bucket and then for every change, in the order of the revisions of each key.

    `async with Feed(bucket, "app.>", on_put, on_delete):` enters when all that is there now has been reported. The
    callbacks are plain functions, called inline. Changes come by the stream's republished copies, `kv.<bucket>.<key>`:
    a watcher would need a consumer per feed and was silent for 18 s after a restart of the server, and a subscription
    to `$KV.…` would also see writes that lost. What a broken connection swallowed, a new snapshot brings.
    """

    def __init__(
        self,
        bucket: Bucket,
        prefix: str,
        on_put: Callable[[Entry], None],
        on_delete: Callable[[str], None],
    ) -> None:
        self._bucket = bucket
        self._bus = bucket.bus
        self._prefix = prefix
        self._on_put = on_put
        self._on_delete = on_delete
        self._known: dict[str, int] = {}
        self._deleted: dict[str, int] | None = None
        """While a snapshot is read: keys deleted meanwhile, which an older page may still show."""
        self._stale = anyio.Event()
        self._subscription: Subscription | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._remove_hook: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        subject = f"kv.{self._bucket.name}.{self._prefix}"
        self._subscription = self._bus.open_subscription(subject, self._on_message)
        self._remove_hook = self._bus.on_reconnect(self._mark_stale)
        try:
            await self._resync()
            self._tasks = await anyio.create_task_group().__aenter__()
        except BaseException:
            self._stop()
            raise
        self._tasks.start_soon(self._keep_complete, name=f"feed {subject}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._stop()
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        if isinstance(
            error, Exception
        ):  # the block's own error shall come out as it is, not wrapped in a group
            await self._tasks.__aexit__(None, None, None)
            return None
        return await self._tasks.__aexit__(kind, error, trace)

    def _stop(self) -> None:
        self._remove_hook()
        if self._subscription is not None:
            self._subscription.close()

    def _mark_stale(self) -> None:
        self._stale.set()

    async def _keep_complete(self) -> None:
        pause = RESYNC
        while True:
            with anyio.move_on_after(pause):
                await self._stale.wait()
            missed = self._stale.is_set()
            pause = RESYNC_AGAIN if missed and self._bus.clustered else RESYNC
            self._stale = anyio.Event()
            try:
                await self._resync()
            except BusError as error:
                log.warning("reading bucket %s failed, trying again: %s", self._bucket.name, error)
                await anyio.sleep(RETRY)
                self._stale.set()

    async def _resync(self) -> None:
        """Compare with the bucket, and report what the feed has missed."""
        before = dict(self._known)
        deleted = self._deleted = {}
        try:
            entries = await self._bucket.snapshot(self._prefix)
        finally:
            self._deleted = None
        present = {entry.key for entry in entries}
        for entry in entries:
            if entry.revision > max(self._known.get(entry.key, 0), deleted.get(entry.key, 0)):
                self._known[entry.key] = entry.revision
                self._on_put(entry)
        for key, revision in before.items():
            if key not in present and self._known.get(key) == revision and await self._is_gone(key):
                self._known.pop(key, None)
                self._on_delete(key)

    async def _is_gone(self, key: str) -> bool:
        """Make sure that a key is gone that a snapshot lacks: on a cluster the snapshot may be older than the key."""
        if not self._bus.clustered:
            return True
        before = self._known.get(key)
        return await self._bucket.get(key) is None and self._known.get(key) == before

    def _on_message(self, _subject: str, _reply: str, raw_headers: bytes | None, data: bytes) -> None:
        headers = parse_headers(raw_headers)
        key = self._bucket.key(headers["Nats-Subject"])
        revision = int(headers["Nats-Sequence"])
        if is_deletion(headers):
            if self._deleted is not None:
                self._deleted[key] = revision
            if revision > self._known.pop(key, revision):
                self._on_delete(key)
        elif revision > self._known.get(key, 0):
            self._known[key] = revision
            self._on_put(Entry(key, data, revision))
