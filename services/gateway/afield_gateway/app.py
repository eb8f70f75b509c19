"""The ASGI application: routes, authentication, metrics. Importing this module loads the HTTP stack."""

from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from time import perf_counter
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afield._wire.api import FleetStats
from afield_gateway import metrics, openapi, problems
from afield_gateway.auth import BearerAuth
from afield_gateway.calls import CallEndpoint
from afield_gateway.health import Probe, check
from afield_gateway.metrics import Metrics
from afield_gateway.problems import Problem

CALL_PATH: Final = "/v1/apps/{app}/functions/{function}/call"


class Parts(NamedTuple):
    """What the application stands on."""

    url: str
    token: str
    calls: CallEndpoint
    probes: Mapping[str, Probe]
    fleet: Callable[[], Awaitable[FleetStats | None]]
    """Ask the scheduler; None when it does not answer."""


def make_app(parts: Parts) -> ASGIApp:
    """Return the application."""
    figures = Metrics()
    described = openapi.document(parts.url)

    async def healthz(_: Request) -> Response:
        health = await check(parts.probes)
        return JSONResponse(health.model_dump(), 200 if health.status == "ok" else 503)

    async def show_metrics(_: Request) -> Response:
        figures.set_fleet(await parts.fleet())
        return Response(figures.render(), headers={"Content-Type": metrics.MEDIA_TYPE})

    async def show_openapi(_: Request) -> Response:
        return JSONResponse(described)

    app = Starlette(
        routes=[
            Route(CALL_PATH, parts.calls.call, methods=["POST"], name="call"),
            Route("/healthz", healthz, methods=["GET"], name="healthz"),
            Route("/metrics", show_metrics, methods=["GET"], name="metrics"),
            Route("/openapi.json", show_openapi, methods=["GET"], name="openapi"),
        ],
        exception_handlers={
            Problem: problems.on_problem,
            HTTPException: problems.on_http_exception,
            Exception: _on_bug,
        },
    )
    return _Instrument(BearerAuth(app, parts.token), figures)


async def _on_bug(_: Request, error: Exception) -> Response:
    # The log has the traceback; a caller is told no more than where to look.
    detail = f"the gateway failed with {type(error).__name__}; its log has the details"
    return Problem(500, "platform-error", "The platform failed", detail).response()


class _Instrument:
    """Counts and times requests, and dates their answers."""

    def __init__(self, app: ASGIApp, figures: Metrics) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def dated(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"date", formatdate(usegmt=True).encode())]
            await send(message)

        with self._figures.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, dated)
            finally:
                self._figures.observe(_route(scope), scope["method"], status, perf_counter() - began)


def _route(scope: Scope) -> str:
    """Name the route for the metrics: never the path itself, which callers choose."""
    endpoint = scope.get("endpoint")
    return getattr(endpoint, "__name__", "none").removeprefix("show_") if endpoint else "none"
