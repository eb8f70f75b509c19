"""The records of REG: read into an index, kept fresh by the feed, written by compare-and-set."""

from typing import Final

import anyio
import anyio.abc

from afield._bus.connection import Bus
from afield._bus.feed import Feed
from afield._bus.kv import Bucket, Entry
from afield._wire.codec import WireError, encode
from afield._wire.functions import AppRecord, FunctionRecord
from afield._wire.streams import REG
from afield._wire.subjects import app_key, function_key, kv
from afield_common.jetstream import JetStream
from afield_common.log import get_logger
from afield_registry.index import Index

log = get_logger(__name__)

BUCKET: Final = REG.name.removeprefix("KV_")


class RecordStore:
    """Writes records; every write that succeeds is in `index` when it returns. Raises ConflictError otherwise."""

    def __init__(self, bus: Bus) -> None:
        self.index: Final = Index()
        self._bucket = Bucket(bus, BUCKET)
        self._jet = JetStream(bus)

    async def follow(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Load everything, report that as started, then follow the changes of others until cancelled."""
        async with Feed(self._bucket, ">", self._on_put, self.index.remove):
            task_status.started()
            await anyio.sleep_forever()

    def _on_put(self, entry: Entry) -> None:
        try:
            self.index.apply(entry.key, entry.data, entry.revision)
        except WireError:
            log.exception("cannot read a record", key=entry.key)  # a newer release wrote it; the rest is fine

    async def add_app(self, app: AppRecord) -> None:
        """Write a new app."""
        revision = await self._bucket.create(app_key(app.ws, app.app_id), encode(app))
        self.index.put_app(app, revision)

    async def change_app(self, app: AppRecord, revision: int) -> None:
        """Replace an app whose record had `revision`."""
        revision = await self._bucket.update(app_key(app.ws, app.app_id), encode(app), revision)
        self.index.put_app(app, revision)

    async def put_function(self, function: FunctionRecord) -> None:
        """Write a function, new or changed, over what the index knows of it."""
        key = function_key(function.ws, function.function_id)
        known = self.index.function(function.ws, function.function_id)
        if known is None:
            revision = await self._bucket.create(key, encode(function))
        elif known.record == function:
            return
        else:
            revision = await self._bucket.update(key, encode(function), known.revision)
        self.index.put_function(function, revision)

    async def reload(self, key: str) -> None:
        """Read one key again, after a lost compare-and-set."""
        entry = await self._bucket.get(key)
        if entry is None:
            self.index.remove(key)
        else:
            self._on_put(entry)

    async def remove_function(self, function: FunctionRecord) -> None:
        """Delete a function's record; everyone who follows the bucket hears of it."""
        key = function_key(function.ws, function.function_id)
        await self._bucket.delete(key)
        self.index.remove(key)

    async def erase_function(self, ws: str, function_id: str) -> None:
        """Remove what the deletion of a function's record left behind."""
        await self._jet.purge(REG.name, kv(BUCKET, function_key(ws, function_id)))

    async def function_ids(self, ws: str) -> set[str]:
        """Return the ids of all functions of an environment that have a record, or left something behind."""
        found = await self._jet.subjects(REG.name, kv(BUCKET, function_key(ws, "*")))
        return {subject.rpartition(".")[2] for subject in found.subjects}

    async def erase(self, app: AppRecord) -> None:
        """Remove all traces of a stopped app: its record and what its functions' deletion left behind."""
        for function_id in app.functions.values():
            await self.erase_function(app.ws, function_id)
        key = app_key(app.ws, app.app_id)
        await self._jet.purge(REG.name, kv(BUCKET, key))
        self.index.remove(key)
