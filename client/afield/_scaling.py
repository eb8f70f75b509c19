"""Asking the platform how busy a function is, and to change how many containers it may have."""

from typing import Any

from afield._hydrate import Binding
from afield._wire.api import FUNCTION_SCALE, FUNCTION_STATS, FunctionStatsRequest, ScaleFunction
from afield.types import FunctionAutoscalerSettings, FunctionCurrentStats


async def update(binding: Binding, given: dict[str, Any]) -> FunctionAutoscalerSettings:
    """Change settings (fields of Scaling, checked); return those that hold then. On a loop of the uplink's."""
    client = await binding.uplink.client()
    record = binding.record
    request = ScaleFunction(ws=record.ws, function_id=record.function_id, **given)
    scaling = (await client.request(FUNCTION_SCALE, request)).spec.scaling
    return FunctionAutoscalerSettings(
        min_containers=scaling.min_containers,
        max_containers=scaling.max_containers,
        scaledown_window=round(scaling.scaledown_window),
        buffer_containers=scaling.buffer_containers,
    )


async def stats(binding: Binding) -> FunctionCurrentStats:
    """Return how busy a function is. On a loop of the uplink's."""
    client = await binding.uplink.client()
    record = binding.record
    request = FunctionStatsRequest(ws=record.ws, function_id=record.function_id)
    answer = await client.request(FUNCTION_STATS, request)
    return FunctionCurrentStats(
        backlog=answer.backlog,
        num_total_runners=answer.containers,
        num_running_inputs=answer.inputs_running,
        input_headroom=answer.input_headroom,
    )
