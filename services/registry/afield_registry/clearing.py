"""What stopped apps leave behind: their functions, the inputs that wait, and inputs that were on their way."""

from collections import defaultdict
from math import inf
from typing import Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.errors import BusError
from afield._wire.functions import AppRecord
from afield_common.clock import Clock
from afield_common.errors import RefusedError
from afield_common.log import get_logger
from afield_registry.beats import AppKey
from afield_registry.functions import Functions
from afield_registry.store import RecordStore
from afield_registry.variants import belongs_to

log = get_logger(__name__)

SETTLED_S: Final = 10.0
"""Seconds after the end of an app in which inputs may still be published that were on their way when it ended."""

AGAIN_S: Final = 2.0
"""Seconds until something is tried again that failed."""


class Clearing:
    """Clears stopped apps away, in the background: a million inputs may wait for one."""

    def __init__(
        self, tasks: TaskGroup, functions: Functions, store: RecordStore, clock: Clock, shards: int
    ) -> None:
        self._tasks = tasks
        self._functions = functions
        self._store = store
        self._index = store.index
        self._clock = clock
        self._shards = range(shards)
        self._under_way: dict[AppKey, anyio.Event] = {}
        self._cleared: defaultdict[AppKey, set[str]] = defaultdict(set)
        """What was taken away of apps that are not swept yet."""
        self._swept: set[AppKey] = set()
        """Stopped apps whose late inputs have been ended."""

    def begin(self, key: AppKey) -> anyio.Event:
        """Take the functions of a stopped app away; return what is set when that is done."""
        if key not in self._under_way:
            self._swept.discard(key)
            self._under_way[key] = anyio.Event()
            self._tasks.start_soon(self._clear, key)
        return self._under_way[key]

    def begin_leftovers(self) -> list[anyio.Event]:
        """Go on where somebody who died had begun; return what is set when that is done."""
        keys = {AppKey(function.ws, function.app_id) for function in self._index.leftovers()}
        return [self.begin(key) for key in keys]

    def over(self, before: float) -> list[AppRecord]:
        """Return the apps of which nothing is left but the record, and that were stopped before a Unix time."""
        return [
            app for app in self._index.expired(before) if AppKey(app.ws, app.app_id) not in self._under_way
        ]

    async def _clear(self, key: AppKey) -> None:
        reason = self._reason(key)
        while functions := list(self._index.leftovers(key)):
            self._cleared[key] |= {function.function_id for function in functions}
            try:
                await self._functions.remove(functions, reason)
            except* (BusError, RefusedError) as errors:
                # The server is away, or another registry is at it, too. The records say what is left.
                log.warning(
                    "could not clear an app", app_id=key.app_id, errors=[str(e) for e in errors.exceptions]
                )
                await self._clock.sleep(AGAIN_S)
        self._under_way.pop(key).set()

    # -- what came late -----------------------------------------------------------------------------

    async def sweep(self) -> None:
        """End what was published for a stopped app after its inputs had been ended: nobody would ever run it."""
        now = self._clock.time()
        stopped = {AppKey(app.ws, app.app_id): app for app in self._index.expired(now)}
        self._swept &= stopped.keys()
        due = [app for app in self._unswept() if app.stopped_at <= now - SETTLED_S]
        unknown = {app.ws for app in due if AppKey(app.ws, app.app_id) not in self._cleared}
        left = {ws: await self._store.function_ids(ws) for ws in unknown}  # after a restart
        for app in due:
            await self._sweep_app(app, left.get(app.ws, set()))

    def pause(self) -> float:
        """Seconds until the next app that was stopped can be swept."""
        now = self._clock.time()
        return max(0.0, min((app.stopped_at + SETTLED_S - now for app in self._unswept()), default=inf))

    def _unswept(self) -> list[AppRecord]:
        done = self._swept | self._under_way.keys()
        stopped = self._index.expired(self._clock.time())
        return [app for app in stopped if AppKey(app.ws, app.app_id) not in done]

    async def _sweep_app(self, app: AppRecord, left: set[str]) -> None:
        key = AppKey(app.ws, app.app_id)
        bases = set(app.functions.values())
        ids = bases | self._cleared.get(key, set())
        ids |= {each for each in left if any(belongs_to(each, base_id) for base_id in bases)}
        ended = 0
        for function_id in ids:
            ended += await self._functions.end_inputs(app.ws, function_id, self._shards, self._reason(key))
        for function_id in ids - bases:
            # Nobody would know of it later: an app's record names its functions, but not their variants.
            await self._store.erase_function(app.ws, function_id)
        self._cleared.pop(key, None)
        self._swept.add(key)
        if ended:
            log.info("late inputs of a stopped app ended", app_id=app.app_id, inputs=ended)

    def _reason(self, key: AppKey) -> str:
        stored = self._index.app(*key)
        if stored is None:
            return f"app {key.app_id} is gone"
        app = stored.record
        return f"app {app.name or app.app_id} was stopped: {app.stop_reason}"
