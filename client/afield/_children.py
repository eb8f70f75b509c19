"""In a container: tells its worker which calls an input made, so that they can be ended with the input.

A call that is waited for is told once it has lasted for TELL_S, as most are over by then, and taken back when it is
over. A spawned call is told at once.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from afield import _context
from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._waits import TELL_S
from afield._wire.codec import encode
from afield._wire.messages import Children
from afield._wire.subjects import container_children

logger = logging.getLogger("afield")

MOST_IDS: Final = 1000
"""Calls named in one message."""


class News(NamedTuple):
    """What is told of the calls of one input."""

    parent: str
    over: bool = False
    spawned: bool = False


Tell = Callable[[News, Sequence[str]], None]
"""Says it to the worker."""


class ChildTeller:
    """Hears of calls as they begin and end. Belongs to one event loop."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._young: dict[str, tuple[str, float]] = {}
        """Calls that are waited for and not told of: call id to its parent and when it began, oldest first."""
        self._told: dict[str, str] = {}
        self._news: defaultdict[News, list[str]] = defaultdict(list)
        self._timer: asyncio.TimerHandle | None = None

    def began(self, parent: str, call_id: str) -> None:
        """Somebody waits for a call that the input `parent` made (empty: nobody knows which). Cheap."""
        self._young[call_id] = (parent, time.monotonic())
        if self._timer is None:
            self._arm(TELL_S)

    def ended(self, call_id: str) -> None:
        """Nobody waits for this call any more; harmless for one that was not heard of. Cheap."""
        if self._young.pop(call_id, None) is None:
            parent = self._told.pop(call_id, None)
            if parent is not None:
                self._news[News(parent, over=True)].append(call_id)
                if self._timer is None:
                    self._arm(TELL_S)

    def spawned(self, parent: str, call_id: str) -> None:
        """The input `parent` made a call, and goes on without it. Where nobody knows which, it ends with nothing."""
        if parent:
            self._news[News(parent, spawned=True)].append(call_id)
            if self._timer is not None:
                self._timer.cancel()
            self._arm(0.0)  # what is spawned in one go is told in one go

    def tell_again(self) -> None:
        """What was told may have got lost."""
        now = time.monotonic()
        self._young = {call_id: (parent, now) for call_id, parent in self._told.items()} | self._young
        self._told.clear()
        if self._young and self._timer is None:
            self._arm(TELL_S)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._young:
            call_id, (parent, began) = next(iter(self._young.items()))
            if began > now - TELL_S:
                self._arm(began + TELL_S - now)
                break
            del self._young[call_id]
            self._told[call_id] = parent
            self._news[News(parent)].append(call_id)
        news, self._news = self._news, defaultdict(list)
        for what, call_ids in news.items():
            for start in range(0, len(call_ids), MOST_IDS):
                self._tell(what, call_ids[start : start + MOST_IDS])


def child_teller_of_container(bus: Bus, ws: str) -> ChildTeller | None:
    """Return the teller of the container that this code runs in; None outside of one."""
    here = _context.current_container()
    if here is None:
        return None
    subject = container_children(here.worker_id)

    def tell(news: News, call_ids: Sequence[str]) -> None:
        message = Children(
            container_id=here.container_id,
            parent=news.parent,
            ws=ws,
            call_ids=tuple(call_ids),
            over=news.over,
            spawned=news.spawned,
        )
        try:
            bus.send(subject, encode(message))
        except BusError as error:
            # Those who are interrupted while they wait cancel their calls themselves.
            logger.debug("could not tell the worker which calls this container made: %s", error)

    return ChildTeller(tell)
