"""Publishing to streams: pipelined, acknowledged, never hanging.

nats-py's `publish_async` leaves a future for ever pending when the stream refuses the message or when the ack is lost
with the connection. Here each message is sent again, with the same message id, until it is acknowledged, refused, or its
deadline is over; the stream stores it once.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from afield._bus.errors import (
    BusBufferFullError,
    BusClosedError,
    BusError,
    NoRespondersError,
    PayloadTooLargeError,
    PublishRefusedError,
    PublishTimeoutError,
    StreamFullError,
)
from afield._bus.leaders import ELECTION_S, IN_PROCESS, TRANSIENT
from afield._bus.msg import check_subject, encode_headers, no_responders, ttl_header

if TYPE_CHECKING:
    from afield._bus.connection import Bus

RESULT_EXISTS: Final = 10077
"""The subject holds a message already, and the first one stays."""

STREAM_FULL: Final = -RESULT_EXISTS
"""Ours. The server gives the code of RESULT_EXISTS to every refusal of a stream, and only the words tell which limit it
was: to take a full stream for a subject that is taken would be to lose the message."""

_TAKEN: Final = "maximum messages per subject exceeded"

_NO_STORAGE: Final = frozenset({10023, 10047, 10122, 10167})
"""The server, or the account, has no storage left."""

WRONG_REVISION: Final = 10071
"""The expected last sequence of the subject is another (also WRONG_REVISION_CONST)."""

WRONG_REVISION_CONST: Final = 10164

WINDOW_BYTES: Final = 64 * 2**20
"""Payload under way, in bytes, beyond which `publish` waits."""

HARD_FACTOR: Final = 4
"""`start`, which cannot wait, refuses beyond this multiple of the window."""

SWEEP: Final = 1.0
"""Seconds between looks for lost acks and passed deadlines, while anything is under way."""

_NEVER: Final = -1
"""The epoch of what was not sent."""

NO_STREAM_GRACE: Final = 5.0
"""Seconds for which a subject may have no stream (a server starting up) before the publish fails; ELECTION_S on a cluster."""


class PubAck(NamedTuple):
    """A stream has the message. `duplicate`: it had it before, under the same message id, at this `seq`."""

    seq: int
    duplicate: bool


_PLAIN_ACK = re.compile(rb'\{"stream":"[^"\\]*", ?"seq":(\d+)(, ?"duplicate": ?true)?\}')
"""Nearly every ack; a third of the time that a JSON parser needs."""


def read_ack(subject: str, data: bytes) -> PubAck:
    """Return the ack in `data`. Raises PublishRefusedError when it is a refusal, BusError when it is neither."""
    plain = _PLAIN_ACK.fullmatch(data)
    if plain is not None:
        return PubAck(int(plain[1]), plain[2] is not None)
    try:
        reply = json.loads(data)
        error = reply.get("error")
        if error is None:
            return PubAck(reply["seq"], reply.get("duplicate", False))
    except (ValueError, KeyError, AttributeError):
        raise BusError(
            f"expected a publish ack of a stream for {subject}, got {bytes(data[:100])!r}"
        ) from None
    raise _refusal(subject, error.get("err_code", 0), error.get("description", "no reason given"))


def _refusal(subject: str, err_code: int, description: str) -> PublishRefusedError:
    if err_code == RESULT_EXISTS and description != _TAKEN:
        return StreamFullError(subject, STREAM_FULL, description)
    if err_code in _NO_STORAGE:
        return StreamFullError(subject, err_code, description)
    return PublishRefusedError(subject, err_code, description)


class Address(NamedTuple):
    """Where a message goes, and its headers: all that can be made before there is a payload. Of `address`."""

    subject: str
    header: bytes


def address(
    subject: str, *, msg_id: str, headers: Mapping[str, str] | None = None, ttl: float | None = None
) -> Address:
    """Return where a message with this id goes. `ttl` is in seconds, rounded up to whole ones.

    Raises ValueError for a bad subject, header or time to live.
    """
    check_subject(subject)
    fields = {"Nats-Msg-Id": msg_id} if msg_id else {}
    if ttl is not None:
        fields["Nats-TTL"] = ttl_header(ttl)
    if headers:
        fields.update(headers)
    return Address(subject, encode_headers(fields))


class Flight:
    """One message under way. All but its making belongs to the publisher."""

    __slots__ = (
        "attempts",
        "charged",
        "deadline",
        "epoch",
        "frame",
        "future",
        "header",
        "no_stream_since",
        "owner",
        "payload",
        "sent_at",
        "size",
        "subject",
        "token",
        "trusting",
    )

    def __init__(
        self,
        owner: "Publisher",
        to: Address,
        payload: bytes | bytearray | memoryview,
        deadline: float,
    ) -> None:
        self.owner = owner
        self.subject, self.header = to
        self.payload = payload
        self.size = len(self.header) + len(payload)
        self.charged = 0
        """Bytes of the window that it takes."""
        self.deadline = deadline
        self.future: asyncio.Future[PubAck] = owner.loop.create_future()
        self.frame = b""
        self.token = ""
        self.epoch = _NEVER
        self.sent_at = 0.0
        self.attempts = 0
        self.no_stream_since = 0.0
        self.trusting = False
        """Whether it was sent without asking for an ack."""

    def on_reply(self, raw_headers: bytes | None, data: bytes) -> None:
        """Take the stream's answer (inline)."""
        if no_responders(raw_headers, data):
            self.owner.no_stream(self)
            return
        try:
            ack = read_ack(self.subject, data)
        except PublishRefusedError as error:
            if error.err_code == IN_PROCESS:
                self.owner.later(self)
            elif error.err_code in TRANSIENT:
                self.owner.no_stream(self)
            else:
                self.owner.finish(self, error)
        except BusError as error:
            self.owner.finish(self, error)
        else:
            self.owner.finish(self, ack)


class Publisher:
    """The publisher of a bus: `bus.publisher`.

    At most `window` messages and WINDOW_BYTES are under way before `publish` waits. A message whose ack has not come
    within `ack_timeout` seconds (doubled at each try, up to eightfold), or whose connection broke, is sent again until
    `deadline` seconds after its start. The deadline must not exceed the streams' duplicate window.
    """

    def __init__(
        self, bus: "Bus", *, window: int = 4096, ack_timeout: float = 5.0, deadline: float = 120.0
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._bus = bus
        self._window = window
        self._ack_timeout = ack_timeout
        self._deadline = deadline
        self._flights: dict[str, Flight] = {}
        self._bytes = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def in_flight(self) -> int:
        """How many messages wait for their ack."""
        return len(self._flights)

    def start(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> "asyncio.Future[PubAck]":
        """Send a message and return the future of its ack, which always ends.

        It ends in PubAck, PublishRefusedError, PublishTimeoutError, NoRespondersError (no stream takes the subject) or
        BusClosedError. Cancelling it means that the message is not sent again. `ttl` is in seconds, rounded up to whole
        ones; `deadline` in seconds from now. Raises at once: PayloadTooLargeError, ValueError for a bad subject or
        header, BusBufferFullError when the window is exceeded four times (await `ready()` or use `publish`).
        """
        return self.start_to(
            address(subject, msg_id=msg_id, headers=headers, ttl=ttl), payload, deadline=deadline
        )

    def start_to(
        self, to: Address, payload: bytes | bytearray | memoryview, *, deadline: float | None = None
    ) -> "asyncio.Future[PubAck]":
        """Do the same as `start` for a message whose address was made before."""
        if self._closed:
            raise BusClosedError("the bus is closed, nothing more can be published")
        if len(self._flights) >= HARD_FACTOR * self._window or self._bytes >= HARD_FACTOR * WINDOW_BYTES:
            raise BusBufferFullError(
                f"{len(self._flights):,} messages ({self._bytes:,} bytes) wait for their acks, no more are taken"
            )
        flight = self._flight(to, payload, deadline)
        self._ask(flight)
        flight.charged = flight.size
        self._bytes += flight.size
        self._start(flight)
        return flight.future

    def prepare(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
        trusting: bool = False,
    ) -> Flight:
        """Return a message to `launch`. From any thread. Parameters and errors are those of `start`.

        `trusting` asks for no ack: the message has an effect that tells, which its sender waits for. If that does not come,
        `confirm` sends the message again, with an ack, and `withdraw` sees to it that it is not sent any more. Look for the
        effect before confirming: a server that was killed knows what it stores, but not what was taken from it since, and
        would store the message anew.

        Whoever wants to hear how its `future` ends says so before it is launched: that happens on the loop.
        """
        flight = self._flight(address(subject, msg_id=msg_id, headers=headers, ttl=ttl), payload, deadline)
        if trusting:
            flight.trusting = True
            flight.frame = self._bus.frame(subject, "", flight.header, payload)
        else:
            self._ask(flight)
        return flight

    def launch(self, flight: Flight, *, here: bool) -> None:
        """Send a message, on the loop (`here`) by the end of its step, from another thread at once, if nothing is in the way.

        The window does not count it: whoever launches one waits for what comes of it.
        """
        if not flight.trusting:
            self._flights[flight.token] = flight
            # A timer that goes off meanwhile sees the flight, or has been forgotten by now.
            if self._timer is None:
                self.loop.call_soon_threadsafe(self._arm)
        flight.epoch = self._bus.epoch
        flight.sent_at = time.monotonic()
        flight.attempts = 1
        if here and self._bus.connected:
            self._bus.write(flight.frame)
        elif here or not self._bus.write_from_thread(flight.frame):
            flight.epoch = _NEVER
            self.loop.call_soon_threadsafe(self._send_here, flight)

    def confirm(self, flight: Flight) -> None:
        """Send a message again that was sent trusting, with an ack; harmless for others. On the loop.

        After its deadline nothing is sent, and its future is cancelled.
        """
        if not flight.trusting:
            return
        flight.trusting = False
        if self.loop.time() >= flight.deadline or self._closed:
            flight.future.cancel()
            return
        try:
            self._ask(flight)
        except PayloadTooLargeError as error:  # the server came back with another limit
            flight.future.set_exception(error)
            return
        self._start(flight)

    def withdraw(self, flight: Flight) -> None:
        """Nobody wants the effect of a message any more: it is not sent again. On the loop."""
        flight.trusting = False
        flight.future.cancel()

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> PubAck:
        """Wait for room in the window, send a message, and wait for its ack. See `start`."""
        if self._full():
            await self.ready()
        return await self.start(subject, payload, msg_id=msg_id, headers=headers, ttl=ttl, deadline=deadline)

    async def ready(self) -> None:
        """Wait until the window has room."""
        while self._full():
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the room that we were given goes to the next
                raise

    async def settle(self) -> None:
        """Wait until everything that is under way now has ended, well or not."""
        pending = [flight.future for flight in self._flights.values()]
        if pending:
            await asyncio.wait(pending)

    # -- inside ---------------------------------------------------------------------------------------

    def _flight(self, to: Address, payload: bytes | bytearray | memoryview, deadline: float | None) -> Flight:
        return Flight(
            self, to, payload, time.monotonic() + (self._deadline if deadline is None else deadline)
        )

    def _start(self, flight: Flight) -> None:
        """Send a flight that asks for an ack, on the loop; without a connection the next one has it sent."""
        self._flights[flight.token] = flight
        self._arm()
        if self._bus.connected:
            self._send(flight, self.loop.time())

    def _ask(self, flight: Flight) -> None:
        """Have the stream's answer reach the flight."""
        inbox = self._bus.inbox
        flight.token = inbox.open(flight.on_reply)
        try:
            flight.frame = self._bus.frame(
                flight.subject, inbox.prefix + flight.token, flight.header, flight.payload
            )
        except ValueError:
            inbox.close(flight.token)
            raise
        flight.header = flight.payload = b""  # the frame has them, and is all that is sent from now on

    def _send_here(self, flight: Flight) -> None:
        """Send, on the loop, what its thread could not send; without a connection the next one has it sent."""
        self.confirm(flight)
        if flight.token in self._flights and self._bus.connected and flight.epoch == _NEVER:
            self._send(flight, self.loop.time())

    def _arm(self) -> None:
        if self._timer is None and self._flights and not self._closed:
            self._timer = self.loop.call_later(SWEEP, self._sweep)

    def _full(self) -> bool:
        return len(self._flights) >= self._window or self._bytes >= WINDOW_BYTES

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _send(self, flight: Flight, now: float) -> None:
        flight.epoch = self._bus.epoch
        flight.sent_at = now
        flight.attempts += 1
        self._bus.write(flight.frame)

    def finish(self, flight: Flight, outcome: PubAck | BusError | None) -> None:
        """End a flight; None means that its future was cancelled."""
        if self._flights.pop(flight.token, None) is None:
            return
        self._bus.inbox.close(flight.token)
        self._bytes -= flight.charged
        future = flight.future
        if not future.done() and outcome is not None:
            if isinstance(outcome, PubAck):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
        if self._waiters and not self._full():
            self._wake()

    def no_stream(self, flight: Flight) -> None:
        """No stream takes the message at the moment: try again soon, but not for ever."""
        now = self.loop.time()
        if not flight.no_stream_since:
            flight.no_stream_since = now
        if now - flight.no_stream_since >= (ELECTION_S if self._bus.clustered else NO_STREAM_GRACE):
            self.finish(flight, NoRespondersError(f"no stream takes messages to {flight.subject}"))
        else:
            self.later(flight)

    def later(self, flight: Flight) -> None:
        """Send a message again soon."""
        self.loop.call_later(0.1, self._again, flight)

    def _again(self, flight: Flight) -> None:
        if flight.token in self._flights and self._bus.connected and not flight.future.done():
            self._send(flight, self.loop.time())

    def on_connect(self) -> None:
        """Send again what was sent on an earlier connection."""
        epoch, now = self._bus.epoch, self.loop.time()
        for flight in list(self._flights.values()):
            if flight.epoch == epoch or flight.future.done():
                continue
            if (
                flight.size > self._bus.max_payload
            ):  # the server came back with another limit, and would hang up
                self.finish(flight, PayloadTooLargeError(flight.subject, flight.size, self._bus.max_payload))
            else:
                self._send(flight, now)

    def _sweep(self) -> None:
        self._timer = None
        now = self.loop.time()
        connected = self._bus.connected
        for flight in list(self._flights.values()):
            if flight.future.done():
                self.finish(flight, None)
            elif now >= flight.deadline:
                self.finish(flight, self._late(flight))
            elif connected and now - flight.sent_at >= self._ack_timeout * min(2 ** (flight.attempts - 1), 8):
                self._send(flight, now)
        self._arm()

    def _late(self, flight: Flight) -> PublishTimeoutError:
        state = "" if self._bus.connected else ", the connection to NATS is down"
        return PublishTimeoutError(
            f"no stream acknowledged a message to {flight.subject} by its deadline "
            f"({flight.attempts} attempts{state}): whether it is stored is not known"
        )

    def close(self) -> None:
        """Fail everything that is still under way."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for flight in list(self._flights.values()):
            self.finish(
                flight, BusClosedError(f"the bus closed before the ack of a message to {flight.subject}")
            )
        while self._waiters:
            self._wake()
