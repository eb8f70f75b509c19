"""One connection to a platform: requests to its services, calls of functions and their results.

A Client belongs to the event loop that it was opened on. Which client a call uses is `_uplink.py`'s business.
"""

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from afield import output
from afield._bus.connection import Bus, BusAddress
from afield._bus.errors import ApiFailure, BusError, PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS, PubAck
from afield._bus_errors import as_user_errors, user_error
from afield._inbox import Inbox, Sink
from afield._outcome import CallOutcome, outcome_of
from afield._payloads import Payloads
from afield._room import PATIENCE_S, Room
from afield._single import SingleCall
from afield._wakes import Wakes
from afield._wire import subjects
from afield._wire.api import CALL_CANCEL, CALL_FORGET, CallRef, Endpoint
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, FunctionSpec
from afield._wire.ids import new_session
from afield._wire.messages import BlobRef, CallKind, InputPack, InputResult, Wake
from afield._wire.subjects import Lane
from afield.embedded import PlatformAddress
from afield.exception import ClientClosed, ResourceExhaustedError
from afield.mapping import Pace, PackOut
from afield.serialization import Serialized

logger = logging.getLogger("afield")

Q = TypeVar("Q")
A = TypeVar("A")

CANCEL_ROUNDS: Final = 30
"""How often a cancellation that takes long is asked to go on; the scheduler answers after some seconds each time."""

QUICK_S: Final = 0.05
"""Seconds within which the last call of a function ended, for the input of its next one to be sent without an ack: the
result, stored after the input, says as much, and sooner than the inbox asks (its CONFIRM_S)."""
TRUSTING: Final = 8
"""Calls at once that do so: where there are more, acks cost little, as many arrive together."""

CLOSE_S: Final = 2.0
"""Seconds that closing waits for clean-ups under way (cancellations, blobs to remove)."""


class Client:
    """See the module. Made by `Client.open`; methods belong to the loop it was opened on, unless they say otherwise."""

    def __init__(self, address: PlatformAddress, ws: str, bus: Bus) -> None:
        self.address = address
        self.ws = ws
        self.session = new_session()
        self.bus = bus
        self.payloads = Payloads(address, bus)
        self.inbox = Inbox(bus, ws, self.session)
        self.paces: dict[tuple[str, str], Pace] = {}
        """What earlier maps learnt, by function and method."""
        self._numbers = itertools.count(1)
        self._wakes = Wakes()
        self._wake_timer: asyncio.TimerHandle | None = None
        self._hints = threading.Lock()
        """Held while what the scheduler is told of inputs is looked at or changed."""
        self._outstanding: dict[str, int] = {}
        self._quick: set[str] = set()
        """Functions whose last call took less than QUICK_S."""
        self._background = 0
        self._idle = asyncio.Event()
        self._closed = False
        self._gone = False
        """Whether nothing can run beside everything else any more."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: PlatformAddress, ws: str, *, connect_timeout: float = 10.0
    ) -> AsyncIterator["Client"]:
        """Connect, within `connect_timeout` seconds; the connection heals itself until the block ends.

        Raises ConnectionError (ours) when the platform cannot be reached, AuthError when it refuses the token.
        """
        user, _, secret = address.token.partition(":")
        where = BusAddress(address.server, user, secret)
        with as_user_errors():
            async with Bus.open(where, name="afield-client", connect_timeout=connect_timeout) as bus:
                client = cls(address, ws, bus)
                bus.open_subscription(
                    subjects.stored_results_of_session(ws, client.session), client.inbox.on_message
                )
                bus.on_reconnect(client.inbox.on_reconnect)
                bus.on_disconnect(client._on_lost)
                bus.on_reconnect(client._on_back)
                bus.tasks.start_soon(client.inbox.run)
                try:
                    yield client
                finally:
                    with anyio.CancelScope(shield=True):
                        await client._close()

    def _on_lost(self) -> None:
        screen = output.current()
        if screen is not None and not self._closed:
            screen.connection_lost(self.session)

    def _on_back(self) -> None:
        screen = output.current()
        if screen is not None:
            screen.connection_back(self.session)

    async def _close(self) -> None:
        self._closed = True
        self.inbox.fail_all(ClientClosed("the connection to the platform was closed while the call ran"))
        self.inbox.close()
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        with anyio.move_on_after(CLOSE_S):
            while self._background:
                self._idle.clear()
                await self._idle.wait()
        self._gone = True

    # -- requests --

    async def request(self, endpoint: Endpoint[Q, A], request: Q, *, timeout: float = 30.0) -> A:
        """Ask a service. Raises the user's error that fits its answer, ConnectionError when it does not answer."""
        with as_user_errors():
            return await self.bus.call(endpoint, request, timeout=timeout)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run an asynchronous function beside everything else, until it ends or the client closes."""
        self.bus.tasks.start_soon(function, *args)

    def later(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a clean-up in the background. Its failure is logged: nobody waits for it, and the platform sweeps.

        So it does for what comes after the end.
        """
        if self._gone:
            return
        self._background += 1
        self.bus.tasks.start_soon(self._clean_up, function, *args)

    async def _clean_up(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            await function(*args)
        except (BusError, TimeoutError, OSError) as error:
            logger.warning("a clean-up after a call failed, the platform will do it later: %s", error)
        finally:
            self._background -= 1
            if not self._background:
                self._idle.set()

    # -- calls --

    def next_call_id(self, shard: int) -> str:
        """Return the id of a new call of a function of this shard. From any thread."""
        return f"fc-{self.session}-{shard}-{next(self._numbers)}"

    def input_message(
        self,
        record: FunctionRecord,
        call_id: str,
        kind: CallKind,
        pack: PackOut[Any],
        parent: str,
        *,
        lane: Lane = "hi",
        method: str = "",
    ) -> tuple[str, bytes, str]:
        """Return subject, body and message id of a pack of inputs."""
        token = f"{pack.first}-{len(pack.args)}"
        subject = f"in.{record.shard}.{record.ws}.{record.function_id}.{lane}.{call_id}.{token}.1"
        body = encode(
            InputPack(
                call_id=call_id,
                function_id=record.function_id,
                kind=kind,
                first=pack.first,
                args=pack.args,
                sent_at=time.time(),
                caller_host=self.payloads.host,
                parent=parent,
                method=method,
            )
        )
        return subject, body, f"{call_id}.{token}.1"

    def make_call(
        self,
        record: FunctionRecord,
        done: Callable[[SingleCall], None],
        *,
        parent: str = "",
        call_id: str = "",
    ) -> SingleCall:
        """Return a call of one input for `start_call`. From any thread.

        `done` is called once, on the loop, when it has a result or cannot get one any more.
        """
        ended = partial(self._ended, record.function_id, done)
        return SingleCall(call_id or self.next_call_id(record.shard), ended, parent=parent)

    def start_call(
        self, call: SingleCall, record: FunctionRecord, payload: bytes | BlobRef, *, method: str = ""
    ) -> None:
        """Publish the input of a call. From any thread, which sends it itself if it can: a wake-up of the loop saved."""
        function_id = record.function_id
        here = self.inbox.is_here
        pack = PackOut(0, (payload,))
        again = partial(self.publish_one, record, call.call_id, "call", pack, call.parent, method=method)
        trusting = function_id in self._quick and self.inbox.unconfirmed < TRUSTING
        self.count(function_id, 1)
        if trusting or not here:
            subject, body, msg_id = self.input_message(
                record, call.call_id, "call", pack, call.parent, method=method
            )
            try:
                call.flight = self.bus.publisher.prepare(subject, body, msg_id=msg_id, trusting=trusting)
            except (BusError, ValueError) as error:
                self._fail(call, user_error(error))
                return
            call.flight.future.add_done_callback(partial(self._on_ack, call, record, again))
        self.inbox.add(call)
        if self._closed:
            self._fail(call, ClientClosed("the connection to the platform is closed"))
        elif call.flight is None:
            self.store_input(call, record, again)
        else:
            self.bus.publisher.launch(call.flight, here=here)
            self.wake(record)

    def _fail(self, call: SingleCall, error: BaseException) -> None:
        """End a call that is just being made; on the loop, where all calls end."""
        self.bus.publisher.loop.call_soon_threadsafe(call.fail, error)

    def store_input(
        self, sink: Sink, record: FunctionRecord, publish: "Callable[[], asyncio.Future[PubAck]]"
    ) -> None:
        """Publish the only input of a call whose result `sink` waits for; the sink fails if it cannot be stored."""
        try:
            ack = publish()
        except (BusError, ValueError) as error:
            sink.fail(user_error(error))
        else:
            ack.add_done_callback(partial(self._on_ack, sink, record, publish))

    def _on_ack(
        self,
        sink: Sink,
        record: FunctionRecord,
        publish: "Callable[[], asyncio.Future[PubAck]]",
        ack: "asyncio.Future[PubAck]",
    ) -> None:
        if ack.cancelled():
            return
        error = ack.exception()
        # The input's subject is taken: our own earlier try was stored, and its ack was lost for longer than the window.
        if error is None or (isinstance(error, PublishRefusedError) and error.err_code == RESULT_EXISTS):
            return
        if isinstance(error, StreamFullError) and not self._closed:
            self.spawn(self._wait_for_room, sink, record, publish, error)
        else:
            sink.fail(user_error(error))

    async def _wait_for_room(
        self,
        sink: Sink,
        record: FunctionRecord,
        publish: "Callable[[], asyncio.Future[PubAck]]",
        refusal: StreamFullError,
    ) -> None:
        async def publish_if_wanted() -> None:
            if self.inbox.waits(sink):  # else it was cancelled: there is nothing to store any more
                await publish()

        try:
            await Room(self, record, PATIENCE_S).wait_and(publish_if_wanted, refusal)
        except (BusError, ResourceExhaustedError) as error:
            sink.fail(user_error(error))

    def _ended(self, function_id: str, done: Callable[[SingleCall], None], call: SingleCall) -> None:
        self.inbox.remove(call)
        self.count(function_id, -1)
        if call.flight is not None:
            if call.result is None:
                self.bus.publisher.withdraw(call.flight)
            call.flight.trusting = False  # a result says that it was stored
        if call.result is not None and time.monotonic() - call.since < QUICK_S:
            self._quick.add(function_id)
        else:
            self._quick.discard(function_id)
        done(call)

    def publish_one(
        self,
        record: FunctionRecord,
        call_id: str,
        kind: CallKind,
        pack: PackOut[Any],
        parent: str,
        *,
        lane: Lane = "hi",
        method: str = "",
    ) -> "asyncio.Future[PubAck]":
        """Start the publish of one pack, and wake the scheduler."""
        subject, body, msg_id = self.input_message(
            record, call_id, kind, pack, parent, lane=lane, method=method
        )
        ack = self.bus.publisher.start(subject, body, msg_id=msg_id)
        self.wake(record)
        return ack

    async def call(
        self,
        record: FunctionRecord,
        data: Serialized,
        *,
        parent: str = "",
        method: str = "",
        call_id: str = "",
    ) -> CallOutcome:
        """Call a function and return how it ended. Cancelling this cancels the call.

        `call_id`: from `next_call_id`, for those who want to know it. Raises ResourceExhaustedError or ConnectionError
        when its input cannot be stored.
        """
        call_id = call_id or self.next_call_id(record.shard)
        with as_user_errors():
            payload = await self.payloads.store(data, call_id)
        ended: asyncio.Future[SingleCall] = asyncio.get_running_loop().create_future()
        call = self.make_call(record, partial(_settle, ended), parent=parent, call_id=call_id)
        self.start_call(call, record, payload, method=method)
        try:
            await ended
        except asyncio.CancelledError:
            self.abandon(call)
            raise
        finally:
            if isinstance(payload, BlobRef):
                self.later(self.payloads.discard, payload)
        return await self.outcome(call, record.spec)

    async def outcome(
        self, call: SingleCall, spec: FunctionSpec | None, *, keep: bool = False
    ) -> CallOutcome:
        """Return how an ended call ended; raises what kept it from ending in a result."""
        if call.error is not None:
            raise call.error
        assert call.result is not None
        return await self.outcome_of(call.result, spec, keep=keep)

    async def outcome_of(
        self, result: InputResult, spec: FunctionSpec | None, *, keep: bool = False
    ) -> CallOutcome:
        """Return the outcome of a stored result, with its blob fetched (and removed, without `keep`)."""
        with as_user_errors():
            return await outcome_of(result, self.payloads, spec, keep=keep)

    def abandon(self, sink: Sink) -> None:
        """Cancel a call that nobody waits for any more."""
        self.inbox.remove(sink)
        sink.fail(ClientClosed("the call was given up by its caller"))
        self.later(self.cancel, sink.call_id)

    async def cancel(self, call_id: str, *, terminate_containers: bool = False) -> None:
        """Cancel a call: its inputs get the status `cancelled`, unless they have ended already."""
        request = CallRef(ws=self.ws, call_id=call_id, terminate_containers=terminate_containers)
        for left in reversed(range(CANCEL_ROUNDS)):
            try:
                await self.bus.call(CALL_CANCEL, request)
                return
            except ApiFailure as error:
                if error.code != "unavailable" or not left:
                    raise
                # It has ended a part of them, and goes on from there.

    async def forget(self, call_id: str) -> None:
        """Drop the stored results of a call whose results have all been taken."""
        await self.bus.call(CALL_FORGET, CallRef(ws=self.ws, call_id=call_id))

    # -- wake-ups --

    def count(self, function_id: str, packs: int) -> None:
        """So many more packs of a function are in flight (fewer, if negative). From any thread."""
        with self._hints:
            left = self._outstanding.get(function_id, 0) + packs
            if left > 0:
                self._outstanding[function_id] = left
            else:
                self._outstanding.pop(function_id, None)

    def wake(self, record: FunctionRecord) -> None:
        """Tell the scheduler that a function has inputs: at once, but at most every 50 ms. From any thread."""
        now = time.monotonic()
        with self._hints:
            news = self._wakes.touch(record.function_id, now, record.shard)
        if not news:
            return
        if self.inbox.is_here:
            self._send_wakes(now)
        else:
            self.bus.publisher.loop.call_soon_threadsafe(self._send_wakes, now)

    def _send_wakes(self, now: float) -> None:
        if self._wake_timer is not None:
            self._wake_timer.cancel()
            self._wake_timer = None
        with self._hints:
            ready = self._wakes.take(now)
            due = self._wakes.next_due
        for function_id, shard in ready:
            hint = Wake(
                ws=self.ws, function_id=function_id, outstanding=self._outstanding.get(function_id, 0)
            )
            try:
                self.bus.send(subjects.wake(shard), encode(hint))
            except BusError as error:
                # Only a hint: the scheduler looks for inputs every second, too.
                logger.debug("could not wake the scheduler: %s", error)
        if due is not None:
            loop = self.bus.publisher.loop
            self._wake_timer = loop.call_later(
                max(0.0, due - now), lambda: self._send_wakes(time.monotonic())
            )


def _settle(future: "asyncio.Future[SingleCall]", call: SingleCall) -> None:
    if not future.done():
        future.set_result(call)
