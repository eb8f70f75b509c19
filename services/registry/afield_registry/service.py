"""The registry as a service: requests in, records out. The rules are in apps.py, states.py and validation.py."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import ClassVar, Final

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import BusError, ConflictError
from afield._bus.msg import Msg
from afield._wire import api, subjects
from afield._wire.api import AppRef, FunctionRef
from afield._wire.codec import WireError, decode, encode
from afield._wire.functions import AppRecord, FunctionRecord
from afield._wire.ids import new_id
from afield._wire.messages import Event, EventKind
from afield_common.clock import Clock, SystemClock
from afield_common.errors import RefusedError, ServiceError
from afield_common.service import Service
from afield_common.store import ensure_assets, limit_queue
from afield_registry import apps, validation
from afield_registry.beats import AppKey, Beats
from afield_registry.clearing import AGAIN_S, Clearing
from afield_registry.functions import TRIES, Functions
from afield_registry.index import Stored
from afield_registry.settings import RegistrySettings
from afield_registry.states import RUNNING, AppEvent, next_state
from afield_registry.store import RecordStore

_CLEAR_S: Final = 5.0
"""Seconds that one waits for the end of what waited for a stopped app; it goes on behind."""


class RegistryService(Service[RegistrySettings]):
    """Creates streams and buckets at its start, then keeps the apps."""

    role: ClassVar[str] = "registry"

    def __init__(self, bus: Bus, settings: RegistrySettings, *, clock: Clock | None = None) -> None:
        super().__init__(bus, settings)
        self._clock = clock or SystemClock()
        self._store = RecordStore(bus)
        self._index = self._store.index
        self._beats = Beats(settings.heartbeat_s)
        self._changing: defaultdict[AppKey, anyio.Lock] = defaultdict(anyio.Lock)
        self._functions = Functions(bus, self._store, settings.shards, self._clock.time)
        self._clearing: Clearing
        self._restored = anyio.Event()
        self._remove_hook: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Create what the server lacks, load the records, answer requests."""
        await self._ensure_assets()
        self._clearing = Clearing(self.tasks, self._functions, self._store, self._clock, self.settings.shards)
        await self.tasks.start(self._store.follow)
        self._remove_hook = self.bus.on_reconnect(self._on_reconnect)
        # Every registry hears every heartbeat, whichever of them answers it.
        await self.bus.subscribe(api.APP_HEARTBEAT.subject, self._on_beat)
        self.tasks.start_soon(self._keep_house)
        self.tasks.start_soon(self._restore)
        await self.serve(
            {
                api.APP_CREATE: self.create_app,
                api.APP_PUBLISH: self.publish_functions,
                api.APP_HEARTBEAT: self.heartbeat,
                api.APP_STOP: self.stop_app,
                api.APP_GET: self.get_app,
                api.APP_LIST: self.list_apps,
                api.FUNCTION_GET: self.get_function,
                api.FUNCTION_BIND: self.bind_function,
                api.FUNCTION_SCALE: self.scale_function,
            }
        )

    async def _ensure_assets(self) -> None:
        storage = self.settings.storage_mib * 2**20 or None
        await ensure_assets(self.bus, self.settings.shards, storage=storage, replicas=self.settings.replicas)
        if self.settings.max_queued is not None:
            await limit_queue(self.bus, self.settings.shards, self.settings.max_queued)

    async def cleanup(self) -> None:
        """Listen to the connection no more."""
        self._remove_hook()

    # -- requests ---------------------------------------------------------------------------------

    async def create_app(self, request: api.CreateApp) -> api.AppCreated:
        """Start an app. Runs of one name are apart: each request makes an app of its own, unless it is a repeated one."""
        validation.check_app(request)
        app = apps.created(request, request.app_id or new_id("ap"), self._clock.time())
        try:
            await self._store.add_app(app)
        except ConflictError:
            await self._store.reload(subjects.app_key(app.ws, app.app_id))
            there = self._running(AppRef(ws=app.ws, app_id=app.app_id))
            if (there.name, there.session) != (app.name, app.session):
                raise RefusedError("conflict", f"there is an app {app.app_id} already") from None
            return self._created(there)
        if app.state == "ephemeral":
            self._beats.seen(AppKey(app.ws, app.app_id), self._clock.monotonic())
        await self._tell("app.started", app, f"app {app.name or app.app_id} started")
        self.log.info("app started", app_id=app.app_id, app=app.name, state=app.state)
        return self._created(app)

    def _created(self, app: AppRecord) -> api.AppCreated:
        return api.AppCreated(
            app_id=app.app_id, heartbeat_s=self.settings.heartbeat_s, shards=self.settings.shards
        )

    async def publish_functions(self, request: api.PublishFunctions) -> api.FunctionsPublished:
        """Give an app functions. The same request again changes nothing and has the same reply."""
        validation.check_functions(request)
        self._running(AppRef(ws=request.ws, app_id=request.app_id))
        key = AppKey(request.ws, request.app_id)
        async with self._changing[key]:
            app = await self._change(key, lambda old: apps.with_functions(old, request.functions, new_id))
            records = await self._functions.publish(app, request.functions)
        return api.FunctionsPublished(functions=records)

    async def heartbeat(self, request: api.AppHeartbeat) -> api.Done:
        """Answer a client's heartbeat; refused when its app is no longer there, so that the client can stop."""
        app = self._running(AppRef(ws=request.ws, app_id=request.app_id))
        next_state(app.state, "beat")
        return api.Done()

    async def stop_app(self, request: AppRef) -> api.Done:
        """Stop an app: nobody can call it any more, what waits ends as cancelled. Repeating it is harmless.

        The answer comes when nothing is left of it; when much has to be ended, that goes on behind the answer.
        """
        app = self._known(request)
        cleared = await self._end(AppKey(app.ws, app.app_id), "stop", request.reason or "asked to stop")
        await _all([cleared])
        return api.Done()

    async def get_app(self, request: AppRef) -> AppRecord:
        """Return an app by id, or the latest running one of a name."""
        return self._known(request)

    async def list_apps(self, request: api.ListApps) -> api.AppList:
        """Return the apps of an environment."""
        validation.check_ws(request.ws)
        found = self._index.apps(request.ws)
        return api.AppList(
            apps=tuple(app for app in found if request.include_stopped or app.state in RUNNING)
        )

    async def get_function(self, request: FunctionRef) -> FunctionRecord:
        """Return a function or class of a running app; a variant only by its id."""
        if request.function_id:
            return self._function(request.ws, request.function_id)
        app = self._running(AppRef(ws=request.ws, app_id=request.app_id, name=request.app_name))
        stored = self._index.function(request.ws, app.functions.get(request.name, ""))
        if stored is None:
            has = ", ".join(sorted(app.functions)) or "no functions"
            raise RefusedError(
                "not_found",
                f"app {app.name or app.app_id} has no function {request.name!r}; it has {has}",
            )
        return stored.record

    async def bind_function(self, request: api.BindFunction) -> FunctionRecord:
        """Return the variant of a function with these arguments and options, made when it is asked for first."""
        target = self._function(request.ws, request.function_id)
        async with self._changing[AppKey(target.ws, target.app_id)]:
            target = self._function(
                request.ws, request.function_id
            )  # its app may have been stopped meanwhile
            base = self._function(target.ws, target.base_id) if target.base_id else target
            return await self._functions.bind(base, request)

    async def scale_function(self, request: api.ScaleFunction) -> FunctionRecord:
        """Change how many containers a function may have, until it is published again."""
        self._function(request.ws, request.function_id)
        return await self._functions.scale(request)

    # -- look-ups ---------------------------------------------------------------------------------

    def _known(self, ref: AppRef) -> AppRecord:
        validation.check_ws(ref.ws)
        if ref.app_id:
            found, wanted = self._index.app(ref.ws, ref.app_id), ref.app_id
        elif ref.name:
            found, wanted = self._index.latest(ref.ws, ref.name), f"named {ref.name!r} running"
        else:
            raise RefusedError("invalid", "expected the id or the name of an app, got neither")
        if found is None:
            raise RefusedError("not_found", f"there is no app {wanted} in environment {ref.ws!r}")
        return found.record

    def _function(self, ws: str, function_id: str) -> FunctionRecord:
        validation.check_ws(ws)
        stored = self._index.function(ws, function_id)
        if stored is None:
            raise RefusedError("not_found", f"there is no function {function_id} in {ws!r}")
        self._running(AppRef(ws=ws, app_id=stored.record.app_id))
        return stored.record

    def _running(self, ref: AppRef) -> AppRecord:
        app = self._known(ref)
        if app.state not in RUNNING:
            raise RefusedError("not_found", f"app {app.name or app.app_id} is stopped: {app.stop_reason}")
        return app

    # -- changes ----------------------------------------------------------------------------------

    async def _change(self, key: AppKey, change: Callable[[AppRecord], AppRecord]) -> AppRecord:
        """Write what `change` makes of an app, again on a fresher record when somebody was faster."""
        for _ in range(TRIES):
            stored: Stored[AppRecord] | None = self._index.app(*key)
            if stored is None:
                raise RefusedError("not_found", f"there is no app {key.app_id} in environment {key.ws!r}")
            app = change(stored.record)
            if app == stored.record:
                return app
            try:
                await self._store.change_app(app, stored.revision)
            except ConflictError:
                await self._store.reload(subjects.app_key(*key))
            else:
                return app
        raise RefusedError("unavailable", f"app {key.app_id} is being changed by others; try again")

    async def _end(self, key: AppKey, event: AppEvent, reason: str) -> anyio.Event:
        """Stop an app; return what is set when nothing of its functions is left."""
        async with self._changing[key]:
            stored = self._index.app(*key)
            if stored is not None and stored.record.state != "stopped":
                now = self._clock.time()

                def stop(old: AppRecord) -> AppRecord:
                    return old if old.state == "stopped" else apps.stopped(old, event, reason, now)

                app = await self._change(key, stop)
                await self._tell("app.stopped", app, reason)
                self.log.info("app stopped", app_id=app.app_id, app=app.name, reason=reason)
            self._beats.forget(key)
        self._changing.pop(key, None)
        return self._clearing.begin(key)

    async def _tell(self, kind: EventKind, app: AppRecord, detail: str) -> None:
        event = Event(kind=kind, at=self._clock.time(), app_id=app.app_id, detail=detail)
        await self.bus.publish(subjects.event(app.ws, app.app_id), encode(event))

    # -- housekeeping -----------------------------------------------------------------------------

    def _on_beat(self, msg: Msg) -> None:
        try:
            beat = decode(api.AppHeartbeat, msg.data)
        except WireError:
            return  # whoever answers the request tells the client
        self._beats.heard(AppKey(beat.ws, beat.app_id), self._clock.monotonic())

    def _on_reconnect(self) -> None:
        self._beats.forgive(self._clock.monotonic())
        self._restored.set()

    async def _restore(self) -> None:
        """After each reconnect, make again what a server that came back has lost (it may have a new store)."""
        while True:
            await self._restored.wait()
            self._restored = anyio.Event()
            try:
                await self._ensure_assets()
            except* (BusError, ServiceError) as errors:
                self.log.error("could not create streams", errors=[str(e) for e in errors.exceptions])

    async def _keep_house(self) -> None:
        while True:
            pause = self._beats.grace
            try:
                await self._tidy()
                pause = min(self._beats.pause(self._clock.monotonic()), self._clearing.pause())
            except* (BusError, RefusedError) as errors:
                # The server is away, or another registry tidies too. Nothing is lost: what is left is found again.
                pause = min(pause, AGAIN_S)
                self.log.warning("could not tidy up", errors=[str(error) for error in errors.exceptions])
            await self._clock.sleep(pause)

    async def _tidy(self) -> None:
        self._beats.keep(self._index.ephemeral(), self._clock.monotonic())
        for key in self._beats.lapsed(self._clock.monotonic()):
            await self._end(key, "lapse", f"no heartbeat from its client for {self._beats.grace:g} s")
        await _all(self._clearing.begin_leftovers())
        await self._functions.check_variants()
        await self._clearing.sweep()
        for app in self._clearing.over(self._clock.time() - self.settings.keep_stopped_s):
            await self._store.erase(app)


async def _all(events: Iterable[anyio.Event]) -> None:
    """Wait until all are set, for _CLEAR_S at most."""
    with anyio.move_on_after(_CLEAR_S):
        for event in events:
            await event.wait()
