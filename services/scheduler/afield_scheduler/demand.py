"""How many packs wait for functions, or run: asked of the consumers of their lanes."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import anyio

from afield._wire import subjects
from afield._wire.functions import FunctionRecord
from afield._wire.subjects import LANES, Lane
from afield_common.jetstream import ConsumerState, JetStream

ONE_BY_ONE: Final = 16
"""Up to so many functions are asked for one by one; beyond, one list of all consumers is cheaper."""


class Inputs(NamedTuple):
    """The packs of one function, in both lanes."""

    waiting: int = 0
    """Nobody has them."""
    delivered: int = 0
    """Some worker has them, or they wait for their next attempt."""
    pulls: int = 0
    """Open requests of workers."""
    floor: int = 0
    """Grows when the oldest pack is done."""

    @property
    def backlog(self) -> int:
        """Packs that wait or run."""
        return self.waiting + self.delivered


class Demand(NamedTuple):
    """The answer: what there is by function id, and the functions that lack a consumer (none was made, or it expired)."""

    inputs: dict[str, Inputs]
    dormant: set[str]
    uncounted: int = 0
    """Messages that no consumer has, as of a sweep, if any function is dormant: inputs of those, or just published."""


async def look(jet: JetStream, functions: Iterable[FunctionRecord]) -> Demand:
    """Return what there is of these functions."""
    wanted = list(functions)
    if len(wanted) > ONE_BY_ONE:
        return await sweep(jet, wanted)
    states: dict[tuple[str, Lane], ConsumerState | None] = {}

    async def ask(function: FunctionRecord, lane: Lane) -> None:
        name = subjects.input_consumer(function.ws, function.function_id, lane)
        stream = subjects.input_stream(function.shard)
        states[function.function_id, lane] = await jet.consumer(stream, name)

    async with anyio.create_task_group() as tasks:
        for function in wanted:
            for lane in LANES:
                tasks.start_soon(ask, function, lane)
    return _sum(wanted, states)


async def sweep(jet: JetStream, functions: Iterable[FunctionRecord]) -> Demand:
    """Return what there is of these functions from one list of the consumers of each shard."""
    wanted = list(functions)
    found: dict[str, ConsumerState] = {}
    shards = {function.shard for function in wanted}
    for shard in shards:
        async for state in jet.consumers(subjects.input_stream(shard)):
            found[state.name] = state
    states = {
        (function.function_id, lane): found.get(
            subjects.input_consumer(function.ws, function.function_id, lane)
        )
        for function in wanted
        for lane in LANES
    }
    demand = _sum(wanted, states)
    if not demand.dormant:
        return demand
    stored = 0
    for shard in shards:
        stored += await jet.messages(subjects.input_stream(shard))
    counted = sum(state.pending + state.ack_pending for state in found.values())
    return demand._replace(uncounted=max(0, stored - counted))


def _sum(functions: Iterable[FunctionRecord], states: dict[tuple[str, Lane], ConsumerState | None]) -> Demand:
    demand = Demand({}, set())
    for function in functions:
        inputs = Inputs()
        for lane in LANES:
            state = states[function.function_id, lane]
            if state is None:
                demand.dormant.add(function.function_id)
            else:
                inputs = Inputs(
                    inputs.waiting + state.pending,
                    inputs.delivered + state.ack_pending,
                    inputs.pulls + state.waiting_pulls,
                    inputs.floor + state.ack_floor,
                )
        demand.inputs[function.function_id] = inputs
    return demand


async def mean_pack(jet: JetStream, function: FunctionRecord) -> tuple[dict[str, Any], float]:
    """Return what the server says of a function's input stream, and how many inputs the function's packs have on average.

    The server tells of 100,000 packs at most in one answer, which is enough for a mean. 1.0 if there is none.
    """
    wanted = subjects.inputs_of_function(function.shard, function.ws, function.function_id)
    body = {"subjects_filter": wanted}
    stream = await jet.request(f"STREAM.INFO.{subjects.input_stream(function.shard)}", body)
    sizes = [subjects.parse_input(subject).pack.size for subject in stream["state"].get("subjects") or {}]
    return stream, sum(sizes) / len(sizes) if sizes else 1.0


async def holding(jet: JetStream, functions: Iterable[FunctionRecord]) -> set[str]:
    """Return which of these functions, that have no consumers, have inputs."""
    found: set[str] = set()
    limit = anyio.CapacityLimiter(ONE_BY_ONE)

    async def ask(function: FunctionRecord) -> None:
        async with limit:
            wanted = subjects.inputs_of_function(function.shard, function.ws, function.function_id)
            if await jet.holds(subjects.input_stream(function.shard), wanted):
                found.add(function.function_id)

    async with anyio.create_task_group() as tasks:
        for function in functions:
            tasks.start_soon(ask, function)
    return found
