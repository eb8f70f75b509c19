"""The other end of the bare path: pulls inputs, answers, stores the answer, then acknowledges the input.

`python -m benchmarks.peers.programs.bare_responder URL SLOTS`
"""

import asyncio
import sys
from collections import deque
from functools import partial
from typing import Final

import anyio

from afield._bus.connection import Bus, BusAddress
from afield._bus.delivery import Delivery
from afield._bus.pull import PullLoop

DEMAND: Final = 512
"""Deliveries asked for at once."""


class Responder:
    """Sends back what comes: at once, or after a nap, of which `slots` are taken at a time."""

    def __init__(self, bus: Bus, slots: int) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._free = slots
        self._queue: deque[Delivery] = deque()
        self.pulling = PullLoop(bus, "BENCH_IN", "bench", self._delivered)

    def _delivered(self, delivery: Delivery) -> None:
        if self.pulling.outstanding < DEMAND // 2:
            self.pulling.demand(DEMAND)
        if delivery.subject.startswith("benchin.nap."):
            self._queue.append(delivery)
            self._begin_naps()
        else:
            self._answer(delivery)

    def _begin_naps(self) -> None:
        while self._free and self._queue:
            self._free -= 1
            delivery = self._queue.popleft()
            self._loop.call_later(float(delivery.data), self._woke, delivery)

    def _woke(self, delivery: Delivery) -> None:
        self._free += 1
        self._answer(delivery)
        self._begin_naps()

    def _answer(self, delivery: Delivery) -> None:
        name = delivery.subject.partition(".")[2]
        stored = self._bus.publisher.start(f"benchout.{name}", delivery.data, msg_id=f"out.{name}")
        stored.add_done_callback(partial(self._stored, delivery))

    def _stored(self, delivery: Delivery, stored: "asyncio.Future[object]") -> None:
        stored.result()
        delivery.ack()


async def main() -> None:
    """Answer until killed."""
    async with Bus.open(BusAddress(sys.argv[1], "", ""), name="bare-responder") as bus:
        responder = Responder(bus, int(sys.argv[2]))
        responder.pulling.demand(DEMAND)
        await responder.pulling.run()


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
