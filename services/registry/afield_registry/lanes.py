"""The consumers of a function's two lanes on its input stream, and the inputs that wait there."""

from collections.abc import Iterable
from typing import Final

import anyio

from afield._wire import subjects
from afield._wire.functions import FunctionRecord
from afield._wire.streams import consumer_config
from afield._wire.subjects import LANES, Lane
from afield_common.jetstream import JetStream

_AT_ONCE: Final = 32
"""Requests on their way to the server at the same time; it creates consumers of one stream one by one anyway."""


async def open_lanes(jet: JetStream, functions: Iterable[FunctionRecord]) -> None:
    """Create the consumers of all functions; those that exist stay."""
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def create(function: FunctionRecord, lane: Lane) -> None:
        async with limit:
            config = consumer_config(function.ws, function.function_id, function.shard, lane)
            await jet.create_consumer(subjects.input_stream(function.shard), config)

    async with anyio.create_task_group() as tasks:
        for function in functions:
            for lane in LANES:
                tasks.start_soon(create, function, lane)


async def close_lanes(jet: JetStream, function: FunctionRecord) -> int:
    """Delete the consumers of a function, then the inputs that waited; return how many messages those were."""
    stream = subjects.input_stream(function.shard)
    for lane in LANES:
        name = subjects.input_consumer(function.ws, function.function_id, lane)
        await jet.delete_consumer(stream, name)
    waiting = subjects.inputs_of_function(function.shard, function.ws, function.function_id)
    return await jet.purge(stream, waiting)


async def drop_inputs(jet: JetStream, ws: str, function_id: str, shards: int) -> int:
    """Remove the inputs of a function whose record is gone, in whichever shard it had; return how many messages."""
    dropped = 0
    for shard in range(shards):
        waiting = subjects.inputs_of_function(shard, ws, function_id)
        dropped += await jet.purge(subjects.input_stream(shard), waiting)
    return dropped
