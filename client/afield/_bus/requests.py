"""Requests and their replies, over breaks of the connection."""

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from afield._bus.errors import BusClosedError, BusTimeoutError, ConnectionLostError, NoRespondersError
from afield._bus.msg import Msg, check_subject, encode_headers, no_responders

if TYPE_CHECKING:
    from afield._bus.connection import Bus


class Collector(Protocol):
    """Takes the replies to a request that has several."""

    def add(self, raw_headers: bytes | None, data: bytes) -> bool:
        """Take one reply (inline); True when it is the last one."""

    def restart(self) -> None:
        """Forget everything: the request is sent again."""


class _Request:
    """One request under way. `epoch` is the connection it was sent on, -1 while it waits for one."""

    __slots__ = ("collector", "epoch", "frame", "future", "repeat", "subject", "token")

    def __init__(self, subject: str, future: "asyncio.Future[Msg]", repeat: bool) -> None:
        self.subject = subject
        self.future = future
        self.repeat = repeat
        self.epoch = -1
        self.token = ""
        self.frame = b""
        self.collector: Collector | None = None

    def on_reply(self, raw_headers: bytes | None, data: bytes) -> None:
        if self.future.done():
            return
        if no_responders(raw_headers, data):
            self.future.set_exception(NoRespondersError(f"nobody listens on {self.subject}"))
        elif self.collector is None or self.collector.add(raw_headers, data):
            self.future.set_result(Msg(self.subject, "", raw_headers, data))


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
        collector: Collector | None = None,
    ) -> Msg:
        """Send a request and return the reply; see Bus.request."""
        check_subject(subject)
        loop = asyncio.get_running_loop()
        request = _Request(subject, loop.create_future(), repeat)
        request.collector = collector
        request.token = self._bus.inbox.open(request.on_reply)
        timer = None
        try:
            reply = self._bus.inbox.prefix + request.token
            request.frame = self._bus.frame(subject, reply, encode_headers(headers), payload)
            if timeout < math.inf:
                timer = loop.call_later(timeout, self._expire, request, timeout)
            self._open[request.token] = request
            self._send(request)
            return await request.future
        finally:
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
