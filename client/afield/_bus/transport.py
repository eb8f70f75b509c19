"""The socket under a nats-py client, with messages handed over inline.

nats-py reads in a task, parses with coroutines, and moves each message through a queue to another task. Measured here,
that is more than half of the cost of a small message. This transport parses in `data_received` and calls the handler of
a subscription at once, in the same loop step. All that is not a message for one of our handlers (PING, PONG, INFO, -ERR,
and messages of nats-py's own subscriptions) it hands to nats-py's read loop as before, so connecting, authentication,
errors, pings and reconnects remain nats-py's.

What is written first in a loop step goes out at once, as somebody may wait for it; what follows is collected and sent at the
end of the step: one system call for all acks of a burst. Both go past the loop, which would take its own time: only what
the kernel does not take is left to it. Other threads may write, too, whole frames or nothing.
"""

import asyncio
import os
import ssl
import threading
from typing import Any, Final, cast
from urllib.parse import ParseResult

from nats.aio.transport import Transport
from nats.errors import Error as NatsError

from afield._bus.msg import Handler

WRITE_HIGH = 4 * 2**20
"""Bytes that wait in the socket's buffer before `drain` blocks."""

CLOSE_GRACE = 1.0
"""Seconds that a closing socket may take to send what is left; a frozen server would take for ever."""

_AT_ONCE: Final = 1024
"""Pieces that one system call takes."""


class InlineTransport(Transport, asyncio.Protocol):
    """One TCP connection. `inline` maps subscription ids (as on the wire) to handlers, and may change at any time."""

    def __init__(self, inline: dict[str, Handler]) -> None:
        self._loop = asyncio.get_running_loop()
        self._inline = inline
        self._socket: asyncio.Transport | None = None
        self._fd = -1
        """Our own descriptor of the socket: the loop may close its own at any time, and its number may be given away."""
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.usable = False
        """Whether what is written now has a chance to arrive; an attribute, for it is asked for each message."""
        self._eof = False
        self._streaming = False
        self._partial: list[bytes | memoryview] = []
        """Pieces of an unfinished frame, joined once it is whole: appending to one buffer copied each byte twice more."""
        self._kept = 0
        """Bytes in them."""
        self._need = 0
        """Bytes that it takes before it is worth another look."""
        self._control = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self.shared = False
        """Whether other threads may write: what they send must come behind the handshake and the subscriptions."""
        self._writing = threading.Lock()
        """Held by whoever writes to the socket."""
        self._rest: tuple[bytes, int] | None = None
        """A frame of another thread which the kernel took in part: so many bytes of it. Nothing may come before the rest."""
        self._behind = False
        """Whether the loop has something to write; then nobody may go past it."""
        self._out: list[bytes | memoryview] = []
        self._flush_due = False
        self._can_write: asyncio.Future[None] | None = None

    # -- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket (called by the loop)."""
        self._socket = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._socket.set_write_buffer_limits(high=WRITE_HIGH)
        self._fd = os.dup(transport.get_extra_info("socket").fileno())
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nats-py finds the end by at_eof
        """Wake everybody who waits (called by the loop)."""
        self._eof = True
        self.usable = False
        with self._writing:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._out.clear()
        self._wake_reader()
        self.resume_writing()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The socket's buffer is full (called by the loop)."""
        if self._can_write is None:
            self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        """The socket's buffer has room again (called by the loop)."""
        if self._can_write is not None:
            self._can_write.set_result(None)
            self._can_write = None

    def data_received(self, data: bytes) -> None:
        """Parse and dispatch (called by the loop)."""
        if not self._streaming:
            self._control += data
            self._wake_reader()
            return
        # Handlers write acks and new messages: one flush at the end sends them all.
        self._flush_due = True
        self._parse(data)
        self._flush()

    # -- parsing --------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        if self._partial:
            self._partial.append(data)
            self._kept += len(data)
            if self._kept < self._need:
                return
            data = b"".join(self._partial)
            self._partial.clear()
        position, size, inline = 0, len(data), self._inline
        while position < size:
            end = data.find(b"\r\n", position)
            if end < 0:
                self._keep(data, position, size + 1)
                return
            kind = data[position]
            if kind not in (0x4D, 0x48):  # neither MSG nor HMSG
                self._pass_on(data[position : end + 2])
                position = end + 2
                continue
            words = data[position:end].decode("utf-8", "surrogateescape").split()
            start = end + 2
            stop = start + int(words[-1])
            if stop + 2 > size:
                self._keep(data, position, stop + 2)
                return
            handler = inline.get(words[2])
            if handler is None:
                self._pass_on(data[position : stop + 2])
            elif kind == 0x4D:
                self._call(handler, words[1], words[3] if len(words) == 5 else "", None, data[start:stop])
            else:
                split = start + int(words[-2])
                reply = words[3] if len(words) == 6 else ""
                self._call(handler, words[1], reply, data[start:split], data[split:stop])
            position = stop + 2

    def _keep(self, data: bytes, position: int, needed: int) -> None:
        """Keep what is left; `needed` is the end of the unfinished frame, counted in `data`."""
        self._partial.append(memoryview(data)[position:])
        self._kept = len(data) - position
        self._need = needed - position

    def _call(self, handler: Handler, subject: str, reply: str, header: bytes | None, data: bytes) -> None:
        try:
            handler(subject, reply, header, data)
        except (
            Exception
        ) as error:  # one broken handler must not stop the others; asyncio reports it, as for call_soon
            self._loop.call_exception_handler(
                {"message": f"the handler of a message on {subject} raised", "exception": error}
            )

    def _pass_on(self, data: bytes) -> None:
        self._control += data
        self._wake_reader()

    # -- what nats-py calls ---------------------------------------------------------------------------

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:  # noqa: ARG002
        """Connect to `uri` within `connect_timeout` seconds."""
        async with asyncio.timeout(connect_timeout):
            await self._loop.create_connection(lambda: self, uri.hostname or "", uri.port or 4222)

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,  # noqa: ARG002
        buffer_size: int,  # noqa: ARG002
        connect_timeout: float,  # noqa: ARG002
    ) -> None:
        """Refuse: TLS is not supported yet."""
        raise NatsError(
            f"{uri} wants TLS, which this version of afield does not speak: use a plain nats:// server"
        )

    def write(self, payload: bytes | memoryview) -> None:
        """Send `payload` by the end of this loop step."""
        self._out.append(payload)
        if not self._flush_due:
            self._flush_due = True
            self._send()
            self._loop.call_soon(self._flush)

    def write_from_thread(self, payload: bytes) -> bool:
        """Send `payload` at once, from any thread. False if something is in its way: nothing of it was sent then."""
        size = len(payload)
        sent: list[int] = []
        with self._writing:
            if not (self.shared and self.usable) or self._behind or self._rest is not None:
                return False
            try:
                # In one go for the interpreter: an interrupt of this thread comes before the kernel has anything, or
                # after we know how much that is.
                sent.extend(map(os.write, (self._fd,), (payload,)))
            except OSError:
                return False  # the socket's buffer is full, or the connection broken: the loop finds out the same
            finally:
                if sent and sent[0] < size:
                    self._rest = payload, sent[0]
        if self._rest is not None:
            self._loop.call_soon_threadsafe(self._send)
        return True

    def writelines(self, payload: list[bytes]) -> None:
        """Send several pieces by the end of this loop step."""
        for piece in payload:
            self.write(piece)

    def _flush(self) -> None:
        self._flush_due = False
        if self._out:
            self._send()

    def _send(self) -> None:
        """Send what waits: now what the kernel takes, the rest when the loop can."""
        if self._socket is None:
            return
        out, self._out = self._out, []
        with self._writing:
            if self._rest is not None:
                frame, sent = self._rest
                out.insert(0, memoryview(frame)[sent:])
                self._rest = None
            if not out:
                return
            if not self._socket.is_closing() and not (self._behind and self._socket.get_write_buffer_size()):
                self._behind = False
                out = self._write(out)
            if out:
                self._behind = True
                self._socket.writelines(out)

    def _write(self, out: list[bytes | memoryview]) -> list[bytes | memoryview]:
        """Send what the kernel takes, and return the rest. 3 to 4 % of a warm call, beside the loop's own writing."""
        try:
            sent = os.write(self._fd, out[0]) if len(out) == 1 else os.writev(self._fd, out[:_AT_ONCE])
        except OSError:  # the socket's buffer is full, or the connection broken: the loop finds out the same
            return out
        for number, piece in enumerate(out):
            if sent < len(piece):
                return [memoryview(piece)[sent:], *out[number + 1 :]]
            sent -= len(piece)
        return []

    async def read(self, buffer_size: int) -> bytes:  # noqa: ARG002
        """Return what is for nats-py; empty bytes at the end of the connection."""
        if not self._streaming:
            self._streaming = True
            early, self._control = bytes(self._control), bytearray()
            self.data_received(early)
        while not self._control and not self._eof:
            await self._wait_for_data()
        data, self._control = bytes(self._control), bytearray()
        return data

    async def readline(self) -> bytes:
        """Return one line of the handshake; what there is at the end of the connection."""
        while (end := self._control.find(b"\n")) < 0 and not self._eof:
            await self._wait_for_data()
        line = bytes(self._control[: end + 1] if end >= 0 else self._control)
        del self._control[: len(line)]
        return line

    async def _wait_for_data(self) -> None:
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def drain(self) -> None:
        """Wait until the socket's buffer has room."""
        self._flush()
        while self._can_write is not None:
            await asyncio.shield(self._can_write)

    def close(self) -> None:
        """Send what is left and close; what cannot be sent within CLOSE_GRACE is dropped."""
        self.usable = False
        if self._socket is None:
            self.connection_lost(None)
        elif not self._socket.is_closing():
            self._flush()
            self._socket.close()
            self._loop.call_later(CLOSE_GRACE, self._abort)

    def _abort(self) -> None:
        if self._socket is not None and not self._closed.done():
            self._socket.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._closed)

    def at_eof(self) -> bool:
        """Tell whether the connection has ended and nats-py has read everything."""
        return self._eof and not self._control

    @property
    def congested(self) -> bool:
        """Tell whether the socket's buffer is full."""
        return self._can_write is not None

    def eof_received(self) -> bool | None:
        """Close on the server's end of stream (called by the loop)."""
        self.usable = False
        return None

    def __bool__(self) -> bool:
        return self._socket is not None

    def __repr__(self) -> str:
        peer: Any = self._socket.get_extra_info("peername") if self._socket else None
        return f"<InlineTransport to {peer}{' (ended)' if self._eof else ''}>"
