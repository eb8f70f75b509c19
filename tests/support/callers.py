"""A function, the client that calls it and the stand-in that answers, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from afield import Function, embedded
from afield._hydrate import Binding
from afield._platform import Client
from afield._portal import get_portal
from afield._uplink import Uplink
from afield.embedded import PlatformAddress
from support.echo_worker import EchoWorker, echo_worker, function_record
from support.services import connected


class Caller(NamedTuple):
    """See the module."""

    function: Function[..., Any, Any]
    client: Client
    worker: EchoWorker
    uplink: Uplink


@asynccontextmanager
async def caller_on(url: str, *, blob_dir: str = "", **spec: object) -> AsyncIterator[Caller]:
    """A function on the server at `url`, and a client on this loop."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connected(url))
        worker = await stack.enter_async_context(echo_worker(bus, function_record(**spec)))
        host = "this-host" if blob_dir else ""
        address = PlatformAddress(url, "", "", blob_dir, host, private=False)
        uplink = Uplink(embedded.Platform(address), "main")
        client = await stack.enter_async_context(uplink.open_here())
        function: Function[..., Any, Any] = Function()
        function._bind(Binding(uplink, worker.record))
        yield Caller(function, client, worker, uplink)
        if uplink.portal_client is not None:
            await asyncio.to_thread(get_portal().run, uplink.close_portal_client)


async def into(seen: list[Any], values: AsyncIterator[Any]) -> None:
    """Take values one by one, so that those before an error are kept."""
    async for value in values:
        seen.append(value)  # noqa: PERF401 - a comprehension would lose them
