"""Pulls the inputs of functions, lane by lane, as many as the pool asks for."""

from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.delivery import Delivery
from afield._bus.errors import BusError, ConsumerGoneError
from afield._bus.pull import PullLoop
from afield._wire import subjects
from afield._wire.functions import FunctionRecord
from afield._wire.subjects import Lane
from afield_common.log import get_logger

log = get_logger(__name__)

RETRY_S: Final = 0.5
"""Seconds until pulling is tried again from a consumer that is gone; who publishes or schedules makes it anew."""

SETTLED_S: Final = 5.0
"""Seconds of pulling after which earlier trouble counts as over: longer than it takes to find a consumer gone."""

SILENT_S: Final = 15.0
"""Seconds without any answer to open requests, not even a heartbeat, that are worth telling: two of them may be lost."""

OnDelivery = Callable[[Lane, Delivery], None]


class LanePull:
    """The pull loop of one lane of one function; a new one when its consumer was gone."""

    def __init__(self, bus: Bus, record: FunctionRecord, lane: Lane, on_delivery: OnDelivery) -> None:
        self._bus = bus
        self._function = record.spec.name
        self._stream = subjects.input_stream(record.shard)
        self._consumer = subjects.input_consumer(record.ws, record.function_id, lane)
        self._on_delivery = lambda delivery: on_delivery(lane, delivery)
        self._stopped = anyio.Event()
        self._failures = 0
        """In a row."""
        self._failing_since = 0.0
        self._failure = ""
        self._began = 0.0
        self._loop = self._fresh()

    def demand(self, count: int) -> None:
        """Welcome more deliveries."""
        self._loop.demand(count)

    async def run(self) -> None:
        """Pull until stopped."""
        while not self._stopped.is_set():
            self._began = anyio.current_time()
            try:
                await self._loop.run()
            except BusError as error:
                now = anyio.current_time()
                if now - self._began > SETTLED_S or not self._failures:
                    self._failures = 0
                    self._failing_since = now
                self._failures += 1
                self._failure = str(error)
                self._tell(error)
                with anyio.move_on_after(RETRY_S):  # no event tells when a consumer is made
                    await self._stopped.wait()
                owed, self._loop = self._loop.outstanding, self._fresh()
                if owed:
                    self._loop.demand(owed)

    async def stop(self) -> None:
        """Withdraw what was asked for; what is on its way is still handed over."""
        self._stopped.set()
        await self._loop.drain()

    @property
    def stalled(self) -> str:
        """What has kept deliveries from coming for a while, in one clause; empty if nothing does."""
        now = anyio.current_time()
        if self._failures and now - self._began <= SETTLED_S:
            lasted = now - self._failing_since
            text = f"inputs of {self._function} cannot be pulled: {self._failure}"
            return f"{text}, for {lasted:.0f} s" if lasted >= SETTLED_S else ""
        silent = self._loop.unanswered_s
        text = f"the server says nothing to requests for inputs of {self._function}"
        return f"{text}, for {silent:.0f} s" if silent >= SILENT_S else ""

    def _tell(self, error: BusError) -> None:
        """Log trouble once. Consumers go with their app, a little before its containers: that alone is none."""
        worth_it = 2 if isinstance(error, ConsumerGoneError) else 1
        say = log.warning if self._failures == worth_it else log.debug
        say("inputs cannot be pulled; trying until they can", consumer=self._consumer, error=str(error))

    def _fresh(self) -> PullLoop:
        return PullLoop(self._bus, self._stream, self._consumer, self._on_delivery)


class Puller:
    """All lanes that this worker pulls from."""

    def __init__(self, bus: Bus, tasks: TaskGroup, on_delivery: OnDelivery) -> None:
        self._bus = bus
        self._tasks = tasks
        self._on_delivery = on_delivery
        self._lanes: dict[tuple[str, Lane], LanePull] = {}

    def pull(self, record: FunctionRecord, lane: Lane, count: int) -> None:
        """Ask for `count` more deliveries; the first request opens the lane."""
        key = record.function_id, lane
        pull = self._lanes.get(key)
        if pull is None:
            pull = self._lanes[key] = LanePull(self._bus, record, lane, self._on_delivery)
            pull.demand(count)
            self._tasks.start_soon(pull.run, name=f"pull {record.function_id} {lane}")
        else:
            pull.demand(count)

    @property
    def stalled(self) -> str:
        """What has kept deliveries of some function from coming, in one clause; empty if nothing does."""
        return next((text for pull in self._lanes.values() if (text := pull.stalled)), "")

    def stop(self, function_id: str) -> None:
        """Stop pulling for a function."""
        for lane in subjects.LANES:
            pull = self._lanes.pop((function_id, lane), None)
            if pull is not None:
                self._tasks.start_soon(pull.stop, name=f"stop pulling {function_id} {lane}")
