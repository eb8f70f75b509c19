"""Typed request endpoints that NATS tools can see: `nats micro ls`, `info`, `stats`.

    async with serve(bus, tasks, "registry", VERSION, {APP_GET: self.get_app}):
        ...

nats-py's own micro service belongs to one connection object and runs the requests of an endpoint one by one. This one
subscribes through the bus, so it survives a rebuilt connection, and runs requests side by side, up to a bound.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter_ns
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure, BusError
from afield._bus.msg import Msg
from afield._bus.subscription import Subscription
from afield._wire.api import ApiError, Endpoint, ErrorCode
from afield._wire.codec import WireError, decode, encode
from afield._wire.ids import random_body
from afield_common.discovery import Discovery, EndpointStats
from afield_common.errors import RefusedError
from afield_common.log import get_logger

log = get_logger(__name__)

Handler = Callable[[Any], Awaitable[Any]]
"""Takes the request of its endpoint, returns the reply; raises RefusedError for what the caller must know."""

QUEUE: Final = "q"
"""Queue group: of several instances of a service, one answers a request."""

MAX_RUNNING: Final = 512
"""Requests that one service runs at the same time; beyond it callers are told to try again."""

_FLUSH_S: Final = 2.0
"""Seconds that a closing service waits for requests that the server has already sent."""

HTTP_CODE: Final[dict[ErrorCode, str]] = {
    "invalid": "400",
    "denied": "403",
    "not_found": "404",
    "conflict": "409",
    "exhausted": "429",
    "internal": "500",
    "unavailable": "503",
}


@asynccontextmanager
async def serve(
    bus: Bus,
    tasks: TaskGroup,
    name: str,
    version: str,
    endpoints: Mapping[Endpoint[Any, Any], Handler],
    *,
    metadata: Mapping[str, str] | None = None,
    max_running: int = MAX_RUNNING,
) -> AsyncIterator["MicroService"]:
    """Answer requests to `endpoints` while the block runs; requests run in `tasks`.

    On leaving, no more requests are taken; those that run go on in `tasks`.
    """
    service = MicroService(bus, tasks, name, version, metadata or {}, max_running)
    try:
        await service.open(endpoints)
        yield service
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_FLUSH_S + 1):
            await service.close()


class MicroService:
    """One instance of a service; made by `serve`."""

    def __init__(
        self,
        bus: Bus,
        tasks: TaskGroup,
        name: str,
        version: str,
        metadata: Mapping[str, str],
        max_running: int = MAX_RUNNING,
    ) -> None:
        self._bus = bus
        self._tasks = tasks
        self._max_running = max_running
        self._subscriptions: dict[str, Subscription] = {}
        self._idle = anyio.Event()
        self._idle.set()
        self.running = 0
        """Requests that run now."""
        self.discovery = Discovery(bus, random_body(), name, version, dict(metadata))

    async def open(self, endpoints: Mapping[Endpoint[Any, Any], Handler]) -> None:
        """Answer requests to `endpoints`, and the discovery subjects; the server knows when this returns."""
        for endpoint, handler in endpoints.items():
            await self.add(endpoint, handler)
        self._subscriptions.update(await self.discovery.subscribe(self._tasks))
        await self._bus.flush()

    async def add(self, endpoint: Endpoint[Any, Any], handler: Handler) -> None:
        """Answer requests to one more endpoint."""
        stats = EndpointStats(_endpoint_name(endpoint.subject), endpoint.subject, QUEUE)
        self.discovery.endpoints[endpoint.subject] = stats

        def on_request(msg: Msg) -> None:
            self._accept(endpoint, handler, stats, msg)

        subscription = await self._bus.subscribe(endpoint.subject, on_request, queue=QUEUE)
        self._subscriptions[endpoint.subject] = subscription

    def remove(self, endpoint: Endpoint[Any, Any]) -> None:
        """Answer requests to an endpoint no more; harmless if it is not answered."""
        subscription = self._subscriptions.pop(endpoint.subject, None)
        self.discovery.endpoints.pop(endpoint.subject, None)
        if subscription is not None:
            subscription.close(deaf=False)
            self._tasks.start_soon(self._mute, [subscription])

    async def close(self) -> None:
        """Take no more requests, save those that the server has already sent us. Safe to call twice."""
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.close(deaf=False)
        if subscriptions:
            await self._mute(list(subscriptions.values()))

    async def _mute(self, subscriptions: list[Subscription]) -> None:
        """Handle what is under way to closed subscriptions; nobody else would answer it. Then be deaf."""
        try:
            await self._bus.flush(timeout=_FLUSH_S)
        except BusError as error:
            log.debug("requests under way may be lost", error=str(error))  # so is the connection
        for subscription in subscriptions:
            subscription.mute()

    async def drained(self) -> None:
        """Wait until no request runs."""
        await self._idle.wait()

    def _accept(self, endpoint: Endpoint[Any, Any], handler: Handler, stats: EndpointStats, msg: Msg) -> None:
        stats.num_requests += 1
        if self.running >= self._max_running:
            error = ApiError(code="unavailable", message=f"{endpoint.subject} is busy; try again")
            self._tasks.start_soon(self._reply_error, stats, msg, error)
            return
        if not self.running:
            self._idle = anyio.Event()
        self.running += 1
        self._tasks.start_soon(self._run, endpoint, handler, stats, msg)

    async def _run(
        self, endpoint: Endpoint[Any, Any], handler: Handler, stats: EndpointStats, msg: Msg
    ) -> None:
        began = perf_counter_ns()
        try:
            answer = await self._answer(endpoint, handler, msg)
            if isinstance(answer, ApiError):
                await self._reply_error(stats, msg, answer)
            elif msg.reply:
                await self._bus.publish(msg.reply, answer)
        except BusError as error:
            log.warning("reply was not sent", subject=endpoint.subject, error=str(error))
        finally:
            stats.processing_time += perf_counter_ns() - began
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def _answer(self, endpoint: Endpoint[Any, Any], handler: Handler, msg: Msg) -> bytes | ApiError:
        """The encoded reply, or why there is none. Nothing but a cancellation escapes: one request is one fault."""
        try:
            request = decode(endpoint.request, msg.data)
        except WireError as error:
            return ApiError(code="invalid", message=f"{endpoint.subject}: {error}")
        try:
            return encode(await handler(request))
        except Exception as error:
            return explain(endpoint.subject, error)

    async def _reply_error(self, stats: EndpointStats, msg: Msg, error: ApiError) -> None:
        stats.num_errors += 1
        stats.last_error = f"{error.code}: {error.message}"
        if msg.reply:
            # A header is one line; the body has the full text.
            headers = {
                "Nats-Service-Error-Code": HTTP_CODE[error.code],
                "Nats-Service-Error": " ".join(error.message.split()),
            }
            await self._bus.publish(msg.reply, encode(error), headers=headers)


def _endpoint_name(subject: str) -> str:
    """`app-list` for `registry.app.list`, `start` for `ctl.w.<worker>.start`."""
    parts = subject.split(".")
    return "-".join(parts[1:]) if len(parts) == 3 else parts[-1]


def explain(subject: str, error: Exception) -> ApiError:
    """Return what the caller of `subject` is told of an error, and log it if the platform is at fault."""
    while isinstance(error, ExceptionGroup):  # a task group of the handler: its first error says why
        error = error.exceptions[0]
    if isinstance(error, RefusedError):
        return ApiError(code=error.code, message=error.message)
    if isinstance(error, ApiFailure) and error.code in HTTP_CODE:
        # A peer that was asked on the caller's behalf refused; its reason is the best there is.
        return ApiError(code=error.code, message=error.message)
    if isinstance(error, BusError):
        log.warning("request failed", subject=subject, error=str(error))
        return ApiError(code="unavailable", message=f"{subject}: {error}")
    log.error("request failed", subject=subject, exc_info=error)
    return ApiError(code="internal", message=f"{subject}: {type(error).__name__}: {error}")
