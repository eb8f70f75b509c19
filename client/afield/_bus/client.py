"""A nats-py client whose messages are delivered inline and which can be written to from plain functions.

Hooks into nats-py 2.16, each used because the public way costs a task switch per message:

- `_connect_to_server` installs our transport.
- `_send_command` and `_flush_pending` write straight to the transport, which coalesces. nats-py would wake a flusher
  task for each message. As its commands and ours go through one buffer, their order is the order of the calls.
- `_process_pong` is repaired, see there.
- `_subs`: our subscriptions are registered there, so that nats-py restores them at a reconnect.
"""

import asyncio
import time
from typing import Any

from nats.aio.client import Client, Srv
from nats.aio.subscription import Subscription as NatsSubscription
from nats.protocol import command

from afield._bus.errors import BusBufferFullError
from afield._bus.msg import Handler
from afield._bus.transport import InlineTransport

HOLD_LIMIT = 16 * 2**20
"""Bytes held back while the connection is down."""


class InlineClient(Client):
    """See above. `epoch` counts the connections that it made; what was sent in an earlier one may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: dict[str, Handler] = {}
        self.epoch = 0
        self._wire: InlineTransport | None = None
        # Not nats-py's own buffer: that one it writes to a dead socket when it closes for good.
        self._held: list[bytes] = []
        self._held_size = 0

    # -- our own ------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Tell whether a frame written now goes out at once."""
        return self._status == Client.CONNECTED and self._wire is not None and self._wire.usable

    @property
    def clustered(self) -> bool:
        """Tell whether the server said that it is part of a cluster."""
        return bool(self._server_info.get("cluster"))

    @property
    def congested(self) -> bool:
        """Tell whether the socket cannot keep up."""
        return self._wire is not None and self._wire.congested

    def write(self, data: bytes) -> None:
        """Send a protocol frame by the end of this loop step, or after the reconnect (or, once closed, by a successor).

        Raises BusBufferFullError when too much waits.
        """
        if self._status == Client.CONNECTED and self._wire is not None and self._wire.usable:
            self._wire.write(data)
            return
        if self._held_size + len(data) > HOLD_LIMIT:
            raise BusBufferFullError(
                f"{self._held_size:,} bytes wait for the connection to NATS to come back, no more are taken"
            )
        self._held.append(data)
        self._held_size += len(data)

    def write_from_thread(self, data: bytes) -> bool:
        """Send a protocol frame now, from any thread; False when it has to go through the loop."""
        wire = self._wire
        return wire is not None and self._status == Client.CONNECTED and wire.write_from_thread(data)

    def share(self) -> None:
        """The server knows our subscriptions: from now on other threads may write, too."""
        if self._wire is not None:
            self._wire.shared = True

    async def drain_socket(self) -> None:
        """Wait while the socket cannot keep up."""
        if self._wire is not None:
            await self._wire.drain()

    async def ping(self, pong: "asyncio.Future[bool]") -> None:
        """Ask the server for a sign; `pong` is set when it has seen everything sent before."""
        await self._send_ping(pong)

    def open_inline(self, subject: str, queue: str, handler: Handler) -> int:
        """Subscribe; the handler is called inline. Returns the subscription's id."""
        self._sid += 1
        sid = self._sid
        self._subs[sid] = NatsSubscription(self, sid, subject, queue=queue)
        self.inline[str(sid)] = handler
        if self.usable:  # else nats-py announces it at the reconnect
            self.write(command.sub_cmd(subject, queue, sid))
        return sid

    def close_inline(self, sid: int, *, deaf: bool = True) -> None:
        """Unsubscribe. With `deaf` unset, the handler still gets what the server had already sent."""
        self._subs.pop(sid, None)
        if deaf:
            self.inline.pop(str(sid), None)
        if self.usable:
            self.write(command.unsub_cmd(sid, 0))

    def inherit(self, predecessor: "InlineClient") -> None:
        """Take over what `predecessor`, which nats-py closed, could not send."""
        self._held, self._held_size = predecessor._held, predecessor._held_size

    def announce(self) -> None:
        """After the first connection: tell the server of subscriptions made before it, then send what was held back.

        Must run in the loop step in which `connect` returned (nats-py does the same at a reconnect).
        """
        assert self._wire is not None
        for sid, subscription in self._subs.items():
            self._wire.write(command.sub_cmd(subscription.subject, subscription.queue, sid))
        self._send_held_back()

    def _send_held_back(self) -> None:
        assert self._wire is not None
        self._wire.writelines(self._held)
        self._held, self._held_size = [], 0

    # -- hooks into nats-py -----------------------------------------------------------------------------

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = time.monotonic()
        # A reconnect that fails half-way leaves tasks behind that would read from the next connection.
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._wire is not None:
            self._wire.close()
        wire = InlineTransport(self.inline)
        await wire.connect(s.uri, 0, self.options["connect_timeout"])
        self._transport = self._wire = wire
        self.epoch += 1

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:  # noqa: ARG002 - nats-py's signature
        self.write(cmd)
        if self.congested:
            await self.drain_socket()

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: ARG002 - nats-py's signature
        if self.usable:
            self._send_held_back()

    async def _process_pong(self) -> None:
        # nats-py's own sets the result of a future that a timeout has cancelled; that error ends its read loop, and
        # leaves a client that looks connected.
        if self._pongs:
            pong = self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            if not pong.done():
                pong.set_result(True)
