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

OnDelivery = Callable[[Lane, Delivery], None]


class LanePull:
    """The pull loop of one lane of one function; a new one when its consumer was gone."""

    def __init__(self, bus: Bus, record: FunctionRecord, lane: Lane, on_delivery: OnDelivery) -> None:
        self._bus = bus
        self._stream = subjects.input_stream(record.shard)
        self._consumer = subjects.input_consumer(record.ws, record.function_id, lane)
        self._on_delivery = lambda delivery: on_delivery(lane, delivery)
        self._stopped = False
        self._loop = self._fresh()

    def demand(self, count: int) -> None:
        """Welcome more deliveries."""
        self._loop.demand(count)

    async def run(self) -> None:
        """Pull until stopped."""
        while not self._stopped:
            try:
                await self._loop.run()
            except BusError as error:
                # Consumers go with their app, a little before its containers.
                say = log.info if isinstance(error, ConsumerGoneError) else log.warning
                say("pulling again soon", consumer=self._consumer, error=str(error))
                await anyio.sleep(RETRY_S)  # no event tells when a consumer is made
                owed, self._loop = self._loop.outstanding, self._fresh()
                if owed:
                    self._loop.demand(owed)

    async def stop(self) -> None:
        """Withdraw what was asked for; what is on its way is still handed over."""
        self._stopped = True
        await self._loop.drain()

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

    def stop(self, function_id: str) -> None:
        """Stop pulling for a function."""
        for lane in subjects.LANES:
            pull = self._lanes.pop((function_id, lane), None)
            if pull is not None:
                self._tasks.start_soon(pull.stop, name=f"stop pulling {function_id} {lane}")
