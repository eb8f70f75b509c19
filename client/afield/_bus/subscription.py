"""A subscription that survives reconnects and rebuilds of the connection."""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from afield._bus.msg import Handler, Msg

if TYPE_CHECKING:
    from afield._bus.connection import Bus

log = logging.getLogger("afield.bus")

BACKLOG = 65_536
"""Messages that may wait for an asynchronous callback; more are dropped, counted and logged."""

Callback = Callable[[Msg], None] | Callable[[Msg], Awaitable[None]]


class Subscription:
    """Interest in a subject. Made by Bus.subscribe and Bus.open_subscription."""

    def __init__(self, bus: "Bus", subject: str, queue: str, handler: Handler) -> None:
        self.subject = subject
        self.queue = queue
        self.handler = handler
        self.sid = 0
        self._bus = bus

    @property
    def active(self) -> bool:
        """Tell whether it still delivers."""
        return self in self._bus.subscriptions

    async def unsubscribe(self) -> None:
        """Stop. Messages that the server had already sent are dropped."""
        self.close()

    def close(self, *, deaf: bool = True) -> None:
        """Stop. With `deaf` unset, the handler still gets what the server had already sent (until `mute`)."""
        self._bus.close_subscription(self, deaf=deaf)

    def mute(self) -> None:
        """After `close(deaf=False)`: drop whatever still comes."""
        self._bus.nc.inline.pop(str(self.sid), None)


def handler_for(callback: Callback, tasks: anyio.abc.TaskGroup, subject: str) -> Handler:
    """Return the inline handler for a user's callback. A coroutine function gets its messages one at a time."""
    if not inspect.iscoroutinefunction(callback):
        call: Callable[[Msg], None] = callback  # type: ignore[assignment]

        def inline(subject: str, reply: str, raw_headers: bytes | None, data: bytes) -> None:
            call(Msg(subject, reply, raw_headers, data))

        return inline
    return _Serial(callback, tasks, subject).on_message


class _Serial:
    """Runs an asynchronous callback for one message after the other; a task exists only while there is work."""

    def __init__(
        self, callback: Callable[[Msg], Awaitable[None]], tasks: anyio.abc.TaskGroup, subject: str
    ) -> None:
        self._callback = callback
        self._tasks = tasks
        self._subject = subject
        self._waiting: deque[Msg] = deque()
        self._running = False
        self._dropped = 0

    def on_message(self, subject: str, reply: str, raw_headers: bytes | None, data: bytes) -> None:
        if len(self._waiting) >= BACKLOG:
            self._dropped += 1
            if self._dropped & (self._dropped - 1) == 0:  # 1, 2, 4, 8, …
                log.error("slow subscriber of %s: %d messages dropped so far", self._subject, self._dropped)
            return
        self._waiting.append(Msg(subject, reply, raw_headers, data))
        if not self._running:
            self._running = True
            self._tasks.start_soon(self._run, name=f"subscription {self._subject}")

    async def _run(self) -> None:
        try:
            while self._waiting:
                msg = self._waiting.popleft()
                try:
                    await self._callback(msg)
                except Exception:
                    log.exception("the handler of a message on %s raised", msg.subject)
        finally:
            self._running = False
