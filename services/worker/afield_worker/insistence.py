"""Publishing what must not be lost: a stream that takes nothing now is asked until it does."""

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Any, Final

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import (
    BusClosedError,
    BusError,
    PayloadTooLargeError,
    PublishRefusedError,
    StreamFullError,
)
from afield._bus.publisher import RESULT_EXISTS
from afield_common.log import get_logger

log = get_logger(__name__)

REFUSED_RETRIES: Final = 30
REFUSED_PAUSE_S: Final = 1.0
"""Between tries when a stream does not take a message: the input has run, so giving up is dear.

What will pass (it is full, or the server is away) is waited for as long as it takes; other refusals REFUSED_RETRIES times.
"""

STALLED_S: Final = 5.0
"""Seconds for which streams take nothing that are worth telling: restarts and elections are over by then."""

Start = Callable[[], "asyncio.Future[Any]"]
"""Sends a message, and returns the future of its ack."""


class Insistence:
    """Tries until a stream has a message, and knows for how long streams have taken nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._insisting = 0
        self._refused_since = 0.0
        self._refusal = ""

    @property
    def stalled(self) -> str:
        """What has kept results from being stored for a while, in one clause; empty if nothing does."""
        lasted = time.monotonic() - self._refused_since if self._insisting else 0.0
        if lasted < STALLED_S:
            return ""
        return f"{self._insisting} packs wait to be stored: {self._refusal}, for {lasted:.0f} s"

    async def publish(self, start: Start, patience: float = inf, pause: float = REFUSED_PAUSE_S) -> bool:
        """Publish a message until a stream has it; False if there is another of the same subject.

        Raises PublishRefusedError when it is refused for good, StreamFullError when there was no room for `patience`
        seconds, BusClosedError when the bus is closed.
        """
        end = time.monotonic() + patience
        refused = 0
        insisting = False
        try:
            while True:
                try:
                    await self._bus.publisher.ready()
                    await start()
                except (PayloadTooLargeError, BusClosedError):
                    raise
                except BusError as error:
                    if isinstance(error, PublishRefusedError) and not isinstance(error, StreamFullError):
                        refused += 1
                        if error.err_code == RESULT_EXISTS:
                            return False
                        if refused > REFUSED_RETRIES:
                            raise
                    elif time.monotonic() >= end and isinstance(error, StreamFullError):
                        raise
                    if not insisting:
                        insisting = True
                        self._note_refusal(error)
                else:
                    return True
                await anyio.sleep(pause)  # no event tells when a full stream has room
        finally:
            self._insisting -= insisting

    def _note_refusal(self, error: BusError) -> None:
        if not self._insisting:
            self._refused_since = time.monotonic()
            self._refusal = str(error)
            log.warning("results are not taken, trying until they are", error=str(error))
        self._insisting += 1
