"""In a container: tells its worker while the code that it runs waits for calls of its own.

Such a container needs no core, and counting it as if it did could leave none for the very calls that it waits for.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from afield import _context
from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._wire.codec import encode
from afield._wire.messages import Waits
from afield._wire.subjects import container_waits

logger = logging.getLogger("afield")

TELL_S: Final = 0.02
"""Seconds of waiting without a break after which it is told: most nested calls are over by then."""
REPEAT_S: Final = 1.0
"""Seconds between repetitions while it waits; a message may be lost."""


class WaitTeller:
    """Hears when the first call begins and when the last one has ended. `tell(calls)` says it to the worker."""

    def __init__(self, calls: Callable[[], int], tell: Callable[[int], None]) -> None:
        """`calls` returns how many calls are waited for now."""
        self._calls = calls
        self._tell = tell
        self._since: float | None = None
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    def began(self) -> None:
        """A call is waited for. Cheap: called for every call."""
        if self._since is None:
            self._since = time.monotonic()
            if self._timer is None:
                self._arm(TELL_S)

    def over(self) -> None:
        """Nothing is waited for any more."""
        self._since = None
        if self._told:
            self._told = False
            self._tell(0)

    def close(self) -> None:
        """Stop the clock, and take back what was told."""
        if self._timer is not None:
            self._timer.cancel()
        self.over()

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self._since is None:
            return
        # One timer serves many short calls in a row, so this wait may have begun after it was set.
        left = self._since + TELL_S - time.monotonic()
        if left > 0:
            self._arm(left)
            return
        self._told = True
        self._tell(self._calls())
        self._arm(REPEAT_S)


def teller_of_container(bus: Bus, session: str, calls: Callable[[], int]) -> WaitTeller | None:
    """Return the teller of the container that this code runs in; None outside of one."""
    here = _context.current_container()
    if here is None:
        return None
    subject = container_waits(here.worker_id)

    def tell(waiting: int) -> None:
        message = Waits(container_id=here.container_id, session=session, calls=waiting)
        try:
            bus.send(subject, encode(message))
        except BusError as error:
            # Only a hint, and repeated.
            logger.debug("could not tell the worker what this container waits for: %s", error)

    return WaitTeller(calls, tell)
