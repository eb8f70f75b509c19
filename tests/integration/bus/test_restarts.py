"""The whole path of inputs and results over restarts of the server."""

import asyncio

import anyio
import anyio.to_thread
import pytest

from afield._bus import Bus, BusAddress, Msg, PubAck, PublishRefusedError
from afield._bus.delivery import Delivery
from afield._bus.direct import get_all
from afield._bus.pull import PullLoop
from afield._wire.streams import RESULTS, input_stream
from support.nats import NatsServer
from support.streams import api, make_asset
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

COUNT = 3000
SLOTS = 50


class EchoWorker:
    """Pulls inputs and stores them as results, at most SLOTS at once, as a worker does."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self.bus = bus
        self.loop = PullLoop(bus, "IN_0", "all", self.on_delivery)
        self.loop.demand(SLOTS)
        self.running: set[str] = set()
        self.most = 0

    def on_delivery(self, delivery: Delivery) -> None:
        """Run one input, unless it runs already."""
        self.loop.demand(1)
        if delivery.subject in self.running:
            return
        self.running.add(delivery.subject)
        self.most = max(self.most, len(self.running))
        number = delivery.subject.rsplit(".", 1)[1]
        msg_id = f"{number}.{self.name}.{delivery.num_delivered}"
        future = self.bus.publisher.start(f"out.{number}", delivery.data, msg_id=msg_id)
        future.add_done_callback(lambda done: self.on_stored(delivery, done))

    def on_stored(self, delivery: Delivery, done: "asyncio.Future[PubAck]") -> None:
        """Acknowledge the input once a result is stored, ours or another's."""
        error = done.exception()
        assert error is None or (isinstance(error, PublishRefusedError) and error.err_code == 10077), error
        self.running.discard(delivery.subject)
        delivery.ack()


async def test_every_input_has_one_result_whatever_the_server_does(
    own_server: NatsServer, own_bus: Bus
) -> None:
    """With two workers and three kills of the server under load, each input ends in one result, and none is left."""
    for spec in (input_stream(0), RESULTS):
        await make_asset(own_bus, spec)
    config = {
        "durable_name": "all",
        "ack_policy": "explicit",
        "max_ack_pending": -1,
        "ack_wait": 3_000_000_000,
    }
    await api(own_bus, "CONSUMER.DURABLE.CREATE.IN_0.all", {"stream_name": "IN_0", "config": config})
    told: set[str] = set()

    def on_result(msg: Msg) -> None:
        told.add(msg.subject)

    await own_bus.subscribe("res.>", on_result)
    async with (
        Bus.open(BusAddress(own_server.url), name="one") as one,
        Bus.open(BusAddress(own_server.url), name="two") as two,
        anyio.create_task_group() as tasks,
    ):
        workers = [EchoWorker(one, "one"), EchoWorker(two, "two")]
        for worker in workers:
            await tasks.start(worker.loop.run)
        futures = []
        for i in range(COUNT):
            await own_bus.publisher.ready()
            futures.append(own_bus.publisher.start(f"in.0.x.{i}", b"%d" % i, msg_id=f"i{i}"))
            if i in (COUNT // 4, COUNT // 2, COUNT * 3 // 4):
                await until(lambda: told)
                await anyio.to_thread.run_sync(own_server.restart)
        await asyncio.gather(*futures)

        async def done() -> bool:
            return int((await api(own_bus, "STREAM.INFO.IN_0"))["state"]["messages"]) == 0

        await until_true(done, timeout=40)
        results = await get_all(own_bus, "RESULTS", "out.>")
        assert sorted(int(r.data) for r in results) == list(range(COUNT))
        tasks.cancel_scope.cancel()
