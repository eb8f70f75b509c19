"""Any number of messages, published in as few atomic batches as may be."""

from collections.abc import Iterator, Sequence

from afield._bus.batch import MAX_BYTES, MAX_MESSAGES, BatchMessage, publish_batch
from afield._bus.connection import Bus


async def publish_all(bus: Bus, messages: Sequence[BatchMessage]) -> None:
    """Publish to one stream, batch after batch. Raises as `publish_batch`; earlier batches stay stored then."""
    for batch in split(messages):
        await publish_batch(bus, batch)


def split(messages: Sequence[BatchMessage]) -> Iterator[list[BatchMessage]]:
    """Yield the messages in batches that the server takes."""
    batch: list[BatchMessage] = []
    size = 0
    for message in messages:
        if batch and (len(batch) >= MAX_MESSAGES or size + len(message.payload) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.payload)
    if batch:
        yield batch
