"""Calls whose results nobody waits for yet: their inputs are stored, and that is all."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from afield._bus.batch import BatchMessage
from afield._bus.errors import PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS
from afield._bus_errors import as_user_errors
from afield._feed import Chunk, Feed
from afield._platform import Client
from afield._room import SPAWN_PATIENCE_S, Room
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef
from afield.mapping import MAX_PACK, PACK_BYTES, PackOut
from afield.serialization import Serialized

AHEAD: Final = 1000
"""Inputs consumed from the source that are not stored yet."""
SINGLES: Final = 1000
"""The first so many inputs travel alone, whatever they cost; after as many more each time, packs get larger by one."""


async def spawn_one(
    client: Client, record: FunctionRecord, data: Serialized, *, parent: str, method: str = ""
) -> str:
    """Store the input of a new call and return the call's id. Cancelling this cancels the call."""
    call_id = client.next_call_id(record.shard)
    with as_user_errors():
        payload = await client.payloads.store(data, call_id)
        publish = partial(
            client.publish_one, record, call_id, "spawn", PackOut(0, (payload,)), parent, method=method
        )
        try:
            ack = publish()
            client.inbox.spawned(parent, call_id)
            try:
                await ack
            except StreamFullError as error:
                await Room(client, record, SPAWN_PATIENCE_S).wait_and(publish, error)
            except PublishRefusedError as error:
                if error.err_code != RESULT_EXISTS:  # else an earlier try of ours was stored
                    raise
        except asyncio.CancelledError:
            client.later(client.cancel, call_id)  # nobody will ever know its id
            raise
    return call_id


async def spawn_map(
    client: Client, record: FunctionRecord, feed: Feed, *, parent: str, method: str = ""
) -> tuple[str, int]:
    """Store the inputs of a new call as the feed gives them; return the call's id and their number.

    Raises what the user's iterator raises; the inputs stored until then are cancelled.
    """
    writer = _Writer(client, record, parent, method)
    client.inbox.spawned(parent, writer.call_id)
    chunks: asyncio.Queue[Chunk] = asyncio.Queue()  # bounded by what is asked of the feed
    feed.start(asyncio.get_running_loop(), chunks.put_nowait)
    feed.want(AHEAD)
    try:
        while True:
            chunk = await chunks.get()
            if chunk.payloads:
                await writer.publish(chunk.payloads)
                feed.done(chunk.size)
                feed.want(len(chunk.payloads))
            if chunk.error is not None:
                raise chunk.error
            if chunk.ended:
                return writer.call_id, writer.count
    except BaseException:
        if writer.count:
            client.later(client.cancel, writer.call_id)
        raise
    finally:
        feed.close()


class _Writer:
    """Stores the inputs of one call, in packs that get larger as they get more."""

    def __init__(self, client: Client, record: FunctionRecord, parent: str, method: str) -> None:
        self.call_id = client.next_call_id(record.shard)
        self.count = 0
        """Inputs stored, or about to be."""
        self._client = client
        self._record = record
        self._parent = parent
        self._method = method
        self._room = Room(client, record, SPAWN_PATIENCE_S)

    async def publish(self, chunk: Sequence[bytes | Serialized]) -> None:
        """Store these inputs."""
        messages: list[BatchMessage] = []
        with as_user_errors():
            args: list[bytes | BlobRef] = []
            size = 0
            limit = min(MAX_PACK, 1 + self.count // SINGLES)
            for each in chunk:
                payload = (
                    each if isinstance(each, bytes) else await self._client.payloads.store(each, self.call_id)
                )
                length = len(payload) if isinstance(payload, bytes) else 256
                if args and (len(args) >= limit or size + length > PACK_BYTES):
                    messages.append(self._message(args))
                    args, size = [], 0
                args.append(payload)
                size += length
            messages.append(self._message(args))
            await self._room.publish_all(messages)
        self._client.wake(self._record)

    def _message(self, args: list[bytes | BlobRef]) -> BatchMessage:
        pack = PackOut(self.count, tuple(args))
        self.count += len(args)
        return BatchMessage(
            *self._client.input_message(
                self._record, self.call_id, "spawn", pack, self._parent, lane="lo", method=self._method
            )
        )
