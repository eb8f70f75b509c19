"""What goes back to the stream of a delivery: acknowledged, sent back, or still worked on."""

import asyncio
from collections.abc import Callable
from typing import Final

from afield._bus.delivery import Delivery
from afield_worker.estate import Estate
from afield_worker.instructions import Ack, Nak, Progress

ACK_LAG_S: Final = 0.002
"""Seconds that acknowledgements may wait for a result to go out with: a write to the socket costs more than they do."""


class Acks:
    """Acknowledges deliveries, several at once."""

    def __init__(self, forget: Callable[[Nak], None], estate: Estate) -> None:
        """`forget(nak)` is called for packs that were held and go back."""
        self._forget = forget
        self._estate = estate
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Delivery] = []
        self._timer: asyncio.TimerHandle | None = None

    def ack(self, ack: Ack) -> None:
        """Acknowledge a delivery, soon."""
        self._waiting.append(ack.delivery)
        if self._timer is None:
            self._timer = self._loop.call_later(ACK_LAG_S, self._on_time)

    def send(self) -> None:
        """Acknowledge now all that wait for it: something else goes out anyway."""
        for delivery in self._waiting:
            delivery.ack()
            self._estate.release(delivery)
        self._waiting.clear()

    def nak(self, nak: Nak) -> None:
        """Send a delivery back."""
        nak.delivery.nak(nak.delay)
        self._estate.release(nak.delivery)
        if nak.held is not None:
            self._forget(nak)

    def progress(self, progress: Progress) -> None:
        """Keep deliveries: all that are held."""
        self._estate.alive()
        for delivery in progress.deliveries:
            delivery.progress()

    def close(self) -> None:
        """Acknowledge what waits, and stop the clock."""
        self.send()
        if self._timer is not None:
            self._timer.cancel()

    def _on_time(self) -> None:
        self._timer = None
        self.send()
