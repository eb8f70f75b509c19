"""One run of an app: from finding a platform to leaving it as it was."""

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from afield import config, embedded, output
from afield._bus.errors import ApiFailure, BusError
from afield._hydrate import Binding
from afield._platform import Client
from afield._portal import get_portal
from afield._publish import publish
from afield._uplink import Uplink
from afield._wire import subjects
from afield._wire.api import APP_CREATE, APP_HEARTBEAT, APP_STOP, AppHeartbeat, AppRef, CreateApp
from afield._wire.codec import WireError, decode
from afield._wire.ids import new_id
from afield._wire.messages import Event, LogBatch
from afield.exception import CallCancelledError

if TYPE_CHECKING:
    from afield.app import App

logger = logging.getLogger("afield")

STOP_S: Final = 10.0
"""Seconds that the end of a run waits for the registry to stop the app."""
LAST_LOGS_S: Final = 2.0
"""Seconds that the end of a run waits for its containers to end, so that their last output is seen."""


class Running:
    """The state of a run, for as long as it lasts."""

    def __init__(self, app: "App", app_id: str, uplink: Uplink, client: Client, *, detach: bool) -> None:
        self.app = app
        self.app_id = app_id
        self.ws = uplink.ws
        self.uplink = uplink
        self.client = client
        self.detach = detach
        self.stopped = False
        """Whether the app is known to be stopped."""
        self.reason = ""
        """Why, if somebody else stopped it."""

    async def stop(self, reason: str) -> None:
        """Stop the app; its containers end, its inputs are dropped."""
        self.stopped = True
        await self.client.request(
            APP_STOP, AppRef(ws=self.ws, app_id=self.app_id, reason=reason), timeout=STOP_S
        )

    def lost(self, reason: str) -> None:
        """The app was stopped by somebody else: nothing that is awaited will come."""
        if self.stopped:
            return
        self.stopped = True
        self.reason = reason
        self.app._unbind()
        self.uplink.fail_calls(
            CallCancelledError(f"the call was cancelled: its app {self.app_id} was stopped: {reason}")
        )


@asynccontextmanager
async def run_app(
    app: "App", *, name: str | None, detach: bool, environment_name: str | None
) -> AsyncIterator["App"]:
    """Run an app for as long as the block lasts. The caller keeps exceptions of the block to itself."""
    ws = config.environment(environment_name)
    screen = output.current()
    holds: list[embedded.Platform] = []

    def acquire() -> None:
        holds.append(embedded.acquire(on_progress=screen.status if screen is not None else None))

    try:
        # Kept in a list, so that the hold is not lost when an interrupt comes while it is being taken.
        await anyio.to_thread.run_sync(acquire)
        uplink = Uplink(holds[0], ws)
        if detach and uplink.address.private:
            warnings.warn(
                "detach=True has no effect on a platform that ends with this process: start one with `afield up`",
                UserWarning,
                stacklevel=2,
            )
        async with _connected(uplink) as client, _run_on(app, uplink, client, name, detach):
            yield app
    finally:
        with anyio.CancelScope(shield=True):
            for hold in holds:
                await anyio.to_thread.run_sync(hold.release)


@asynccontextmanager
async def _connected(uplink: Uplink) -> AsyncIterator[Client]:
    """Give the run a client on this loop, and close what blocking calls have opened besides."""
    portal = get_portal()
    try:
        if asyncio.get_running_loop() is portal.loop:
            yield await uplink.client()
        else:
            async with uplink.open_here() as client:
                yield client
    finally:
        with anyio.CancelScope(shield=True):
            await portal.bridge(uplink.close_portal_client)


@asynccontextmanager
async def _run_on(
    app: "App", uplink: Uplink, client: Client, name: str | None, detach: bool
) -> AsyncIterator[Running]:
    shown = name or app.name or ""
    created = await client.request(
        APP_CREATE,
        CreateApp(
            ws=uplink.ws,
            name=shown,
            description=name or app.description or "",
            session=client.session,
            state="detached" if detach else "ephemeral",
            tags=dict(app._tags),
            app_id=new_id("ap"),
        ),
    )
    running = Running(app, created.app_id, uplink, client, detach=detach)
    app._begin(running)
    scope = anyio.CancelScope()
    screen = output.current()
    try:
        _listen(running, screen)
        if not detach:
            client.spawn(partial(_heartbeats, running, created.heartbeat_s, scope))
        functions = list(app._functions.values())
        if screen is not None:
            screen.app_created(shown, created.app_id)
        declared = [function._declared for function in functions if function._declared is not None]
        records = await publish(client, created.app_id, declared, include_source=app._include_source)
        for function, record in zip(functions, records, strict=True):
            function._bind(Binding(uplink, record))
        if screen is not None:
            screen.app_running(created.app_id, {record.function_id: record.spec.name for record in records})
        yield running
    finally:
        scope.cancel()
        app._end()
        with anyio.CancelScope(shield=True):
            await _leave(running, screen)


async def _leave(running: Running, screen: "output.Screen | None") -> None:
    if not running.stopped and not running.detach:
        try:
            await running.stop("its client has ended the run")
        except Exception as error:
            # The run is over for its user either way; the registry stops the app when its heartbeats stay away.
            logger.warning("could not tell the platform that app %s has ended: %s", running.app_id, error)
        else:
            if screen is not None:
                await screen.containers_gone(running.app_id, LAST_LOGS_S)
    if screen is not None:
        screen.app_ended(running.app_id, detached=running.detach)
        await output.settle_async()


def _listen(running: Running, screen: "output.Screen | None") -> None:
    """Hear of the app's end; with output enabled, of everything else, too."""
    bus, ws, app_id = running.client.bus, running.ws, running.app_id

    def on_event(subject: str, _reply: str, _headers: bytes | None, data: bytes) -> None:
        try:
            event = decode(Event, data)
        except WireError as error:
            logger.warning("an event on %s cannot be read: %s", subject, error)
            return
        if event.kind == "app.stopped":
            running.lost(event.detail or "no reason was given")
        if screen is not None:
            screen.on_event(event)

    def on_log(subject: str, _reply: str, _headers: bytes | None, data: bytes) -> None:
        assert screen is not None
        try:
            batch = decode(LogBatch, data)
        except WireError as error:
            logger.warning("output on %s cannot be read: %s", subject, error)
            return
        screen.on_log(app_id, batch)

    if screen is None:
        bus.open_subscription(subjects.event(ws, app_id), on_event)
        return
    bus.open_subscription(subjects.events_of_app(ws, app_id), on_event)
    bus.open_subscription(subjects.logs_of_app(ws, app_id), on_log)


async def _heartbeats(running: Running, period: float, scope: anyio.CancelScope) -> None:
    """Tell the registry that this client lives, until the run ends."""
    client = running.client
    beat = AppHeartbeat(ws=running.ws, app_id=running.app_id, session=client.session)
    with scope:
        while not running.stopped:
            await anyio.sleep(period)
            try:
                await client.bus.call(APP_HEARTBEAT, beat, timeout=period)
            except ApiFailure as error:
                if error.code in ("not_found", "conflict"):
                    running.lost(error.message)
                    return
                logger.warning("the registry refused a heartbeat of app %s: %s", running.app_id, error)
            except (BusError, TimeoutError) as error:
                # The connection heals itself; the registry is patient for three beats.
                logger.warning("a heartbeat of app %s was not answered: %s", running.app_id, error)
