"""Requests and their replies, over breaks of the connection."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from afield._bus.errors import BusClosedError, BusTimeoutError, ConnectionLostError, NoRespondersError
from afield._bus.msg import Msg, check_subject, encode_headers, no_responders

if TYPE_CHECKING:
    from afield._bus.connection import Bus


LONGEST_AGAIN_S: Final = 4.0
"""Seconds after which a request is sent again at the latest."""
ABSENT_S: Final = 0.2
"""The same, while nobody listens."""


class Collector(Protocol):
    """Takes the replies to a request that has several."""

    def add(self, raw_headers: bytes | None, data: bytes) -> bool:
        """Take one reply (inline); True when it is the last one."""

    def restart(self) -> None:
        """Forget everything: the request is sent again."""


class _Request:
    """One request under way. `epoch` is the connection it was sent on, -1 while it waits for one."""

    __slots__ = (
        "again",
        "collector",
        "end",
        "epoch",
        "frame",
        "future",
        "on_absent",
        "repeat",
        "subject",
        "token",
    )

    def __init__(self, subject: str, future: "asyncio.Future[Msg]", repeat: bool) -> None:
        self.subject = subject
        self.future = future
        self.repeat = repeat
        self.epoch = -1
        self.token = ""
        self.frame = b""
        self.collector: Collector | None = None
        self.end: asyncio.TimerHandle | None = None
        self.again: asyncio.TimerHandle | None = None
        self.on_absent: Callable[[_Request], None] = _Request.fail
        """Called when nobody listens."""

    def on_reply(self, raw_headers: bytes | None, data: bytes) -> None:
        if self.future.done():
            return
        if no_responders(raw_headers, data):
            self.on_absent(self)
        elif self.collector is None or self.collector.add(raw_headers, data):
            self.future.set_result(Msg(self.subject, "", raw_headers, data))

    def fail(self) -> None:
        """Nobody listens, and nobody did before."""
        self.future.set_exception(NoRespondersError(f"nobody listens on {self.subject}"))


class Requests:
    """The requests of one bus."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._open: dict[str, _Request] = {}

    async def ask(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
        again: float = math.inf,
        collector: Collector | None = None,
    ) -> Msg:
        """Send a request and return the reply; see Bus.request."""
        check_subject(subject)
        loop = asyncio.get_running_loop()
        request = _Request(subject, loop.create_future(), repeat)
        request.collector = collector
        request.token = self._bus.inbox.open(request.on_reply)
        try:
            reply = self._bus.inbox.prefix + request.token
            request.frame = self._bus.frame(subject, reply, encode_headers(headers), payload)
            if timeout < math.inf:
                request.end = loop.call_later(timeout, self._expire, request, timeout)
            if again < timeout:
                request.again = loop.call_later(again, self._again, request, again)
            self._open[request.token] = request
            self._send(request)
            return await request.future
        finally:
            for timer in (request.end, request.again):
                if timer is not None:
                    timer.cancel()
            self._open.pop(request.token, None)
            self._bus.inbox.close(request.token)

    def _send(self, request: _Request) -> None:
        # Not buffered while the connection is down: a request sent late is one that nobody waits for any more.
        if self._bus.connected:
            if request.collector is not None:
                request.collector.restart()
            request.epoch = self._bus.epoch
            self._bus.write(request.frame)

    def _again(self, request: _Request, pause: float) -> None:
        """Send a request again: who heard it may have died with it."""
        if not request.future.done():
            request.on_absent = self._absent
            self._send(request)
            pause = min(2 * pause, LONGEST_AGAIN_S)  # it may also be busy
            request.again = asyncio.get_running_loop().call_later(pause, self._again, request, pause)

    def _absent(self, request: _Request) -> None:
        """Nobody listens any more. Who heard it may answer yet, or the next one may be about to come up."""
        if request.again is not None:
            request.again.cancel()
        request.again = asyncio.get_running_loop().call_later(ABSENT_S, self._again, request, LONGEST_AGAIN_S)

    def _expire(self, request: _Request, timeout: float) -> None:
        if not request.future.done():
            state = "" if self._bus.connected else "; the connection to NATS is down"
            request.future.set_exception(
                BusTimeoutError(f"no reply on {request.subject} within {timeout:g} s{state}")
            )

    def on_disconnect(self) -> None:
        """Fail what was under way and must not be repeated."""
        for request in self._open.values():
            if request.epoch >= 0 and not request.repeat and not request.future.done():
                request.future.set_exception(
                    ConnectionLostError(f"the connection to NATS broke before the reply on {request.subject}")
                )

    def on_connect(self) -> None:
        """Send what waited for a connection, and what was lost with the last one."""
        for request in self._open.values():
            if request.epoch != self._bus.epoch and not request.future.done():
                self._send(request)

    def close(self) -> None:
        """Fail everything."""
        for request in self._open.values():
            if not request.future.done():
                request.future.set_exception(
                    BusClosedError(f"the bus closed before the reply on {request.subject}")
                )
