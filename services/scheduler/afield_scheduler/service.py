"""The scheduler as a service: feeds and wake-ups in, requests to workers out. Decisions are made in director.py."""

from collections.abc import Callable
from typing import Any, ClassVar

import anyio
import anyio.abc

from afield._bus.connection import Bus
from afield._bus.feed import Feed
from afield._bus.kv import Bucket, Entry
from afield._bus.msg import Msg
from afield._wire import api, subjects
from afield._wire.codec import WireError, decode
from afield._wire.functions import AppRecord, FunctionRecord
from afield._wire.messages import Event, Wake
from afield._wire.streams import REG
from afield_common.clock import Clock, SystemClock
from afield_common.errors import RefusedError
from afield_common.jetstream import JetStream
from afield_common.micro import Handler, MicroService
from afield_common.service import Service
from afield_common.store import wait_for_assets
from afield_scheduler import demand
from afield_scheduler.calls import Calls
from afield_scheduler.director import Director
from afield_scheduler.holders import holder_name
from afield_scheduler.leader import Leadership
from afield_scheduler.roster import Roster
from afield_scheduler.settings import SchedulerSettings
from afield_scheduler.snapshot import Snapshot


class SchedulerService(Service[SchedulerSettings]):
    """One scheduler; of several, one leads."""

    role: ClassVar[str] = "scheduler"

    def __init__(self, bus: Bus, settings: SchedulerSettings, *, clock: Clock | None = None) -> None:
        super().__init__(bus, settings)
        self._clock = clock or SystemClock()
        self._snapshot = Snapshot()
        self._jet = JetStream(bus)
        self._calls = Calls(bus, self._clock.time, self._app_of, self._rouse)
        self._leadership = Leadership(bus, holder_name(), self._on_leadership)
        self._remove_hook: Callable[[], None] = lambda: None
        self._director: Director
        self._micro: MicroService

    async def start(self) -> None:
        """Load functions and workers, listen, stand for the lead."""
        await wait_for_assets(self.bus, self.settings.shards)
        self._director = director = Director(self.bus, self.settings, self._snapshot, self.tasks)
        await self.tasks.start(self._follow_records)
        roster = Roster(self.bus, self._clock, director.on_worker, director.on_worker_gone)
        await self.tasks.start(roster.follow)
        self.tasks.start_soon(roster.bury, lambda: director.leading, self.settings.sweep_s)
        await self.bus.subscribe(subjects.event("*", "*", "*", "*"), self._on_event)
        await self.bus.subscribe(subjects.ALL_WAKES, self._on_wake)
        self._remove_hook = self.bus.on_reconnect(director.refresh)
        self._micro = await self.serve(
            {
                api.CALL_CANCEL: self._calls.cancel,
                api.CALL_GET: self._calls.get,
                api.CALL_FORGET: self._calls.forget,
            }
        )
        self.tasks.start_soon(director.run)
        await self.tasks.start(self._leadership.run)

    async def cleanup(self) -> None:
        """Listen to the connection no more."""
        self._remove_hook()

    async def stats(self, request: api.StatsRequest) -> api.FleetStats:
        """Return the fleet as the leader sees it; `ws` limits the functions to one environment."""

        def asked_for(function_id: str) -> bool:
            function = self._snapshot.functions.get(function_id)
            return function is not None and request.ws in ("", function.ws)

        return api.FleetStats(
            leader=self._leadership.holder,
            workers=tuple(self._snapshot.workers.values()),
            backlog={f: packs for f, packs in self._snapshot.backlog.items() if packs and asked_for(f)},
            waiting={f: reason for f, reason in self._director.complaints.reasons.items() if asked_for(f)},
            notices=tuple(
                self._director.pulling.notices(
                    [f for f in self._snapshot.functions.values() if asked_for(f.function_id)],
                    self._snapshot.workers.values(),
                    self._clock.monotonic(),
                )
            ),
        )

    async def function_stats(self, request: api.FunctionStatsRequest) -> api.FunctionStats:
        """Return how busy a function is: its inputs as the server has them, its containers as workers last told."""
        function = self._snapshot.functions.get(request.function_id)
        if function is None or function.ws != request.ws:
            raise RefusedError("not_found", f"there is no function {request.function_id} in {request.ws!r}")
        function_id = function.function_id
        inputs = (await demand.look(self._jet, [function])).inputs[function_id]
        placed = self._snapshot.containers(function_id)
        held = sum(each.record.busy for each in placed)
        stream, size = await demand.mean_pack(self._jet, function)
        packs = inputs.waiting + max(0, inputs.delivered - held)
        return api.FunctionStats(
            backlog=round(packs * size),
            containers=self._snapshot.count(function_id),
            inputs_running=sum(w.inputs_running.get(function_id, 0) for w in self._snapshot.workers.values()),
            input_headroom=sum(self._snapshot.headroom(each) for each in placed),
            queued=stream["state"]["messages"],
            max_queued=max(0, stream["config"]["max_msgs"]),
        )

    # -- who leads ----------------------------------------------------------------------------------

    def _on_leadership(self, leading: bool) -> None:
        self._director.lead(leading)
        if leading:
            self.tasks.start_soon(self._offer_stats)
        else:
            self._micro.remove(api.FLEET_STATS)
            self._micro.remove(api.FUNCTION_STATS)

    async def _offer_stats(self) -> None:
        """Only the leader knows what waits and why."""
        offers: dict[api.Endpoint[Any, Any], Handler] = {
            api.FLEET_STATS: self.stats,
            api.FUNCTION_STATS: self.function_stats,
        }
        for endpoint, handler in offers.items():
            if self._director.leading:
                await self._micro.add(endpoint, handler)

    # -- what is heard ------------------------------------------------------------------------------

    async def _follow_records(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        bucket = Bucket(self.bus, REG.name.removeprefix("KV_"))
        async with Feed(bucket, ">", self._on_record, self._on_record_gone):
            task_status.started()
            await anyio.sleep_forever()

    def _on_record(self, entry: Entry) -> None:
        kind = entry.key.partition(".")[0]
        try:
            if kind == "fn":
                self._director.on_function(decode(FunctionRecord, entry.data))
            elif kind == "app":
                self._on_app(decode(AppRecord, entry.data))
        except WireError as error:
            self.log.error("cannot read a record", key=entry.key, error=str(error))

    def _on_app(self, app: AppRecord) -> None:
        """A stopped app's functions are gone from now on; their records and consumers are removed bit by bit."""
        if app.state == "stopped":
            for function_id in {*app.functions.values(), *self._snapshot.functions_of(app.app_id)}:
                reason = f"app {app.name or app.app_id} was stopped: {app.stop_reason}"
                self._director.on_function_gone(function_id, reason)

    def _on_record_gone(self, key: str) -> None:
        kind, _, rest = key.partition(".")
        if kind == "fn":
            self._director.on_function_gone(rest.rpartition(".")[2])

    def _on_wake(self, msg: Msg) -> None:
        try:
            self._director.on_wake(decode(Wake, msg.data))
        except WireError as error:
            self.log.warning("cannot read a wake-up", error=str(error))

    def _rouse(self, ws: str, function_id: str) -> None:
        self._director.on_wake(Wake(ws=ws, function_id=function_id, outstanding=0))

    def _on_event(self, msg: Msg) -> None:
        try:
            self._director.on_event(decode(Event, msg.data))
        except WireError as error:
            self.log.warning("cannot read an event", subject=msg.subject, error=str(error))

    def _app_of(self, function_id: str) -> str:
        function = self._snapshot.functions.get(function_id)
        return function.app_id if function is not None else "-"
