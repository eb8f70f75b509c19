"""Calls whose results nobody waits for yet: their inputs are stored, and that is all."""

import asyncio
from collections.abc import Sequence
from typing import Final

from afield._batches import publish_all
from afield._bus.batch import BatchMessage
from afield._bus.errors import PublishRefusedError
from afield._bus.publisher import RESULT_EXISTS
from afield._bus_errors import as_user_errors
from afield._feed import Chunk, Feed
from afield._platform import Client
from afield._wire.functions import FunctionRecord
from afield._wire.messages import BlobRef
from afield.mapping import MAX_PACK, PACK_BYTES, PackOut
from afield.serialization import Serialized

AHEAD: Final = 1000
"""Inputs consumed from the source that are not stored yet."""
SINGLES: Final = 1000
"""The first so many inputs travel alone, whatever they cost; after as many more each time, packs get larger by one."""


async def spawn_one(client: Client, record: FunctionRecord, data: Serialized, *, parent: str) -> str:
    """Store the input of a new call and return the call's id."""
    call_id = client.next_call_id(record.shard)
    with as_user_errors():
        payload = await client.payloads.store(data, call_id)
        ack = client.publish_one(record, call_id, "spawn", PackOut(0, (payload,)), parent)
        try:
            await ack
        except PublishRefusedError as error:
            if error.err_code != RESULT_EXISTS:  # else an earlier try of ours was stored
                raise
    return call_id


async def spawn_map(client: Client, record: FunctionRecord, feed: Feed, *, parent: str) -> tuple[str, int]:
    """Store the inputs of a new call as the feed gives them; return the call's id and their number.

    Raises what the user's iterator raises; the inputs stored until then are cancelled.
    """
    call_id = client.next_call_id(record.shard)
    chunks: asyncio.Queue[Chunk] = asyncio.Queue()  # bounded by what is asked of the feed
    feed.start(asyncio.get_running_loop(), chunks.put_nowait)
    feed.want(AHEAD)
    count = 0
    try:
        while True:
            chunk = await chunks.get()
            if chunk.payloads:
                await _publish(client, record, call_id, count, chunk.payloads, parent)
                count += len(chunk.payloads)
                feed.done(chunk.size)
                feed.want(len(chunk.payloads))
            if chunk.error is not None:
                raise chunk.error
            if chunk.ended:
                return call_id, count
    except BaseException:
        if count:
            client.later(client.cancel, call_id)
        raise
    finally:
        feed.close()


async def _publish(
    client: Client,
    record: FunctionRecord,
    call_id: str,
    first: int,
    chunk: Sequence[bytes | Serialized],
    parent: str,
) -> None:
    messages: list[BatchMessage] = []
    with as_user_errors():
        args: list[bytes | BlobRef] = []
        size = 0
        limit = min(MAX_PACK, 1 + first // SINGLES)
        for each in chunk:
            payload = each if isinstance(each, bytes) else await client.payloads.store(each, call_id)
            length = len(payload) if isinstance(payload, bytes) else 256
            if args and (len(args) >= limit or size + length > PACK_BYTES):
                messages.append(_message(client, record, call_id, first, args, parent))
                first += len(args)
                args, size = [], 0
            args.append(payload)
            size += length
        messages.append(_message(client, record, call_id, first, args, parent))
        await publish_all(client.bus, messages)
    client.wake(record)


def _message(
    client: Client, record: FunctionRecord, call_id: str, first: int, args: list[bytes | BlobRef], parent: str
) -> BatchMessage:
    pack = PackOut(first, tuple(args))
    return BatchMessage(*client.input_message(record, call_id, "spawn", pack, parent, lane="lo"))
