"""What a function needs to be called: its record, and the way to the platform that has it."""

from typing import NamedTuple

from afield._uplink import Uplink, default_uplink_async
from afield._wire.api import FUNCTION_GET, FunctionRef
from afield._wire.functions import FunctionRecord


class Binding(NamedTuple):
    """A function as the platform knows it."""

    uplink: Uplink
    record: FunctionRecord


async def by_reference(reference: FunctionRef) -> Binding:
    """Look a function up. To be awaited on the portal's loop. Raises NotFoundError."""
    uplink = await default_uplink_async(reference.ws)
    client = await uplink.client()
    return Binding(uplink, await client.request(FUNCTION_GET, reference))
