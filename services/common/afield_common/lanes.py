"""The consumers of a function's two lanes on its input stream."""

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


async def close_lanes(jet: JetStream, function: FunctionRecord) -> None:
    """Delete the consumers of a function: nobody pulls its inputs any more."""
    stream = subjects.input_stream(function.shard)
    for lane in LANES:
        name = subjects.input_consumer(function.ws, function.function_id, lane)
        await jet.delete_consumer(stream, name)
