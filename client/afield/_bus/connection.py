"""The supervised connection to NATS."""

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import anyio
import anyio.abc

from afield._bus.client import InlineClient
from afield._bus.errors import (
    ApiFailure,
    BusClosedError,
    BusConnectError,
    BusTimeoutError,
    NoRespondersError,
    PayloadTooLargeError,
)
from afield._bus.inbox import Inbox
from afield._bus.msg import Handler, Msg, check_subject, encode_headers, frame
from afield._bus.publisher import Publisher
from afield._bus.requests import Collector, Requests
from afield._bus.subscription import Subscription, handler_for
from afield._wire.api import ApiError, Endpoint
from afield._wire.codec import WireError, decode, encode
from afield._wire.ids import random_body

Q = TypeVar("Q")
A = TypeVar("A")

log = logging.getLogger("afield.bus")
# Programs that set up no logging get none of it, instead of what the last resort of `logging` prints.
logging.getLogger("afield").addHandler(logging.NullHandler())

RECONNECT_WAIT = 0.2
"""Seconds between attempts to reach a server that is away."""

PING_INTERVAL = 5
"""Seconds; a server that leaves two pings unanswered counts as gone (it is stopped, or the network is)."""

AGAIN_S = 1.0
"""Seconds without a reply after which a service is asked again."""

ERROR_CODE_HEADER = "Nats-Service-Error-Code"


class BusAddress(NamedTuple):
    """Where the server is, and as whom to log in (empty: without)."""

    url: str
    """`nats://host:port`; of a cluster several, apart by commas."""
    user: str = ""
    password: str = ""


class Bus:
    """A connection that heals: it reconnects for ever, and is rebuilt when nats-py gives up for good.

    Made by `Bus.open`. All methods belong to the loop it was opened on.
    """

    def __init__(self, address: BusAddress, name: str, tasks: anyio.abc.TaskGroup) -> None:
        self.address = address
        self.name = name
        self.tasks = tasks
        """Background work of the bus and of what stands on it; cancelled when the bus closes."""
        self.inbox_root = f"_INBOX.{address.user}" if address.user else "_INBOX"
        self.inbox = Inbox(f"{self.inbox_root}.{random_body()}")
        self.publisher = Publisher(self)
        self.subscriptions = {Subscription(self, self.inbox.wildcard, "", self.inbox.on_message)}
        self.generation = 0
        """How many clients nats-py has closed for good; `nc` is another object after each."""
        self.numbers = itertools.count(1)
        """Fresh numbers for inboxes and message ids, unique within this bus."""
        self._id_prefix = random_body()
        self._requests = Requests(self)
        self._hooks: list[Callable[[], None]] = []
        self._loss_hooks: list[Callable[[], None]] = []
        self._nc: InlineClient | None = None
        self._gone = asyncio.Event()
        self._closing = False
        self._outage: Exception | None = None
        self._limit = 1_048_576

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: BusAddress, *, name: str, connect_timeout: float = 10.0
    ) -> AsyncIterator["Bus"]:
        """Connect, and stay connected inside the `async with` block.

        Raises BusConnectError when the server cannot be reached within `connect_timeout` seconds or refuses the
        credentials. An exception of the block leaves it as it is (not wrapped in a group).
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            bus = cls(address, name, tasks)
            try:
                await bus._connect(connect_timeout)
                tasks.start_soon(bus._supervise, name=f"bus {name}")
                yield bus
            except Exception as error:
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await bus._close()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    # -- state ----------------------------------------------------------------------------------------

    @property
    def nc(self) -> InlineClient:
        """The current nats-py client; another one after a rebuild (see `generation` and `on_reconnect`)."""
        assert self._nc is not None, "Bus.open connects before anybody sees the bus"
        return self._nc

    @property
    def connected(self) -> bool:
        """Tell whether what is sent now goes out at once."""
        return self._nc is not None and self._nc.usable

    @property
    def clustered(self) -> bool:
        """Whether the server is one of several, which elect leaders for streams and consumers."""
        return self.nc.clustered

    @property
    def epoch(self) -> int:
        """Counts connections; what was sent in an earlier one may be lost."""
        return self.generation * 1_000_000 + self.nc.epoch

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message, headers included."""
        return self._limit

    def fresh_id(self) -> str:
        """Return a message id that nobody else uses."""
        return f"{self._id_prefix}.{next(self.numbers)}"

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each reconnect and each rebuild, inline. Returns a function that removes it."""
        return _hook(self._hooks, callback)

    def on_disconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the connection is lost, before any other is made. Returns a function that removes it."""
        return _hook(self._loss_hooks, callback)

    # -- sending --------------------------------------------------------------------------------------

    def frame(
        self, subject: str, reply: str, header: bytes, payload: bytes | bytearray | memoryview
    ) -> bytes:
        """Return the protocol frame of a message; raises PayloadTooLargeError.

        The size is checked here because nats-py forgets the headers, and a server that gets too much hangs up.
        """
        size = len(header) + len(payload)
        if size > self._limit:
            raise PayloadTooLargeError(subject, size, self._limit)
        return frame(subject, reply, header, payload)

    def write(self, data: bytes) -> None:
        """Send a protocol frame (see InlineClient.write). Raises BusClosedError on a closed bus."""
        if self._closing:
            raise BusClosedError(f"the bus {self.name} is closed, nothing more can be sent")
        self.nc.write(data)

    def write_from_thread(self, data: bytes) -> bool:
        """Send a protocol frame now, from any thread; False when it has to go through the loop."""
        return not self._closing and self.nc.write_from_thread(data)

    def send(
        self, subject: str, payload: bytes = b"", *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish from a plain function: at most once, sent by the end of the loop step.

        While the connection is down the message is held back, up to 16 MiB in all, then BusBufferFullError is raised.
        Raises PayloadTooLargeError.
        """
        check_subject(subject)
        self.write(self.frame(subject, reply, encode_headers(headers), payload))

    async def publish(
        self, subject: str, payload: bytes = b"", *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish at most once (see `send`), and wait while the socket cannot keep up."""
        self.send(subject, payload, reply=reply, headers=headers)
        if self.nc.congested:
            await self.nc.drain_socket()

    async def flush(self, timeout: float = 10.0) -> None:
        """Wait until the server has seen everything that was sent. Raises BusTimeoutError."""
        try:
            async with asyncio.timeout(timeout):
                while not await self._ping():
                    await self._next_connection()
        except TimeoutError:
            raise BusTimeoutError(f"the NATS server did not answer a flush within {timeout:g} s") from None

    async def _ping(self) -> bool:
        """Wait for the server's answer to a ping; False when the connection is lost."""
        if not self.connected:
            return False
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def lost() -> None:
            if not pong.done():
                pong.set_result(False)

        remove = self.on_disconnect(lost)
        try:
            await self.nc.ping(pong)
            return await pong
        finally:
            remove()

    async def _next_connection(self) -> None:
        arrived = asyncio.Event()
        remove = self.on_reconnect(arrived.set)
        try:
            if not self.connected:
                await arrived.wait()
        finally:
            remove()

    # -- asking -----------------------------------------------------------------------------------------

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
        again: float = math.inf,
        collector: Collector | None = None,
    ) -> Msg:
        """Send a request and return the reply.

        With `repeat`, it is sent again after a reconnect, for requests that may be carried out twice; else the loss of
        the connection raises ConnectionLostError. `again`: after so many seconds without a reply it is sent again, too,
        then after twice as many, and so on, 4 at most; once somebody has heard it, that nobody does any more is no
        error. With a `collector` there may be many replies. Raises NoRespondersError, BusTimeoutError, PayloadTooLargeError.
        """
        return await self._requests.ask(
            subject,
            payload,
            timeout=timeout,
            headers=headers,
            repeat=repeat,
            again=again,
            collector=collector,
        )

    async def call(self, endpoint: Endpoint[Q, A], request: Q, *, timeout: float = 10.0) -> A:
        """Call an endpoint of a service and return its reply.

        A service that starts or restarts is waited for, until `timeout` seconds are over. After a reconnect, and when no
        reply comes, as the service may have died, the request is sent again; so services must take repeats. Raises ApiFailure with the service's error,
        NoRespondersError when none came up in time, BusTimeoutError when it did not answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        body = encode(request)
        pause = 0.02
        absent = False
        while True:
            left = max(0.001, deadline - loop.time())
            try:
                reply = await self.request(endpoint.subject, body, timeout=left, repeat=True, again=AGAIN_S)
                break
            except BusTimeoutError:
                # On a busy host next to no time may be left for the last attempt: then what the one before met counts.
                if not absent or left > 0.1:
                    raise
            except NoRespondersError:
                absent = True
            if loop.time() + pause >= deadline:
                raise NoRespondersError(
                    f"no service answers {endpoint.subject}, and none came up within {timeout:g} s"
                )
            await anyio.sleep(pause)  # no event tells when a service subscribes
            pause = min(pause * 1.5, 0.5)
        if reply.raw_headers is not None and ERROR_CODE_HEADER in reply.headers:
            raise _api_failure(endpoint.subject, reply)
        return decode(endpoint.reply, reply.data)

    # -- listening ----------------------------------------------------------------------------------------

    async def subscribe(
        self,
        subject: str,
        callback: Callable[[Msg], None] | Callable[[Msg], Awaitable[None]],
        *,
        queue: str = "",
    ) -> Subscription:
        """Subscribe; it lasts until `unsubscribe`, over reconnects and rebuilds.

        A plain function is called inline, in the loop step in which the message arrived, and must be quick. A coroutine
        function is awaited for one message at a time. What they raise is logged.
        """
        return self.open_subscription(subject, handler_for(callback, self.tasks, subject), queue=queue)

    def open_subscription(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Subscribe with a raw handler (no Msg is made)."""
        check_subject(subject)
        subscription = Subscription(self, subject, queue, handler)
        self.subscriptions.add(subscription)
        subscription.sid = self.nc.open_inline(subject, queue, handler)
        return subscription

    def close_subscription(self, subscription: Subscription, *, deaf: bool) -> None:
        """End a subscription (see Subscription.close)."""
        if subscription in self.subscriptions:
            self.subscriptions.discard(subscription)
            self.nc.close_inline(subscription.sid, deaf=deaf)

    # -- connecting ---------------------------------------------------------------------------------------

    async def _connect(self, timeout: float | None) -> None:
        """Make a client and connect it, within `timeout` seconds or whenever it works."""
        predecessor, client = self._nc, InlineClient()
        if predecessor is not None:
            client.inherit(predecessor)
        self._nc = client
        for subscription in self.subscriptions:
            subscription.sid = client.open_inline(
                subscription.subject, subscription.queue, subscription.handler
            )
        self._outage = None
        refused = settled = False
        with anyio.move_on_after(timeout) as scope:

            async def on_error(error: Exception) -> None:
                nonlocal refused
                self._note(error)
                # Wrong credentials are final at the first connection; later, the server may be one being set up.
                if timeout is not None and not settled and "authorization" in str(error).lower():
                    refused = True
                    scope.cancel()

            await client.connect(
                [url.strip() for url in self.address.url.split(",")],
                error_cb=on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
                name=self.name,
                user=self.address.user or None,
                password=self.address.password or None,
                inbox_prefix=self.inbox_root,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # declared int, used as float
                connect_timeout=5,
                ping_interval=PING_INTERVAL,
                max_outstanding_pings=2,
                pending_size=0,
                dont_randomize="," not in self.address.url,  # not everybody at the first server of a cluster
            )
            settled = True
            client.announce()
        if not settled:
            reason = str(self._outage) if self._outage else "nothing answered"
            raise BusConnectError(
                self.address.url, reason if refused else f"{reason} (gave up after {timeout:g} s)"
            )
        self._connected()

    def _connected(self) -> None:
        """Resume what waited; nothing else runs between the connection and this."""
        self._limit = self.nc.max_payload
        self._outage = None
        self.nc.share()
        _run_all((self.publisher.on_connect, self._requests.on_connect, *self._hooks))

    def _note(self, error: Exception) -> None:
        """Log what nats-py reports: each outage once, everything else each time."""
        if self.connected or self._outage is None or type(error) is not type(self._outage):
            log.warning("NATS connection %s: %s", self.name, str(error) or type(error).__name__)
        self._outage = error

    async def _on_disconnected(self) -> None:
        _run_all((self._requests.on_disconnect, *self._loss_hooks))

    async def _on_reconnected(self) -> None:
        log.info("NATS connection %s is back", self.name)
        self._connected()

    async def _on_closed(self) -> None:
        if not self._closing:
            self._gone.set()

    async def _supervise(self) -> None:
        """Rebuild the connection whenever nats-py has closed it for ever.

        It does so on errors that it takes for final (credentials that expired, a message that was too large), no matter
        how many reconnects were allowed.
        """
        while True:
            await self._gone.wait()
            self._gone.clear()
            log.warning("NATS connection %s was closed (%s): connecting anew", self.name, self.nc.last_error)
            self.generation += 1
            await self._connect(None)

    async def _close(self) -> None:
        self._closing = True
        if self._nc is not None and not self._nc.is_closed:
            with anyio.move_on_after(3):
                with anyio.move_on_after(1) as flushing:
                    await self._ping()
                if flushing.cancelled_caught:
                    log.warning("NATS connection %s closed before the server had seen everything", self.name)
                await self._nc.close()
        self.publisher.close()
        self._requests.close()


def _hook(hooks: list[Callable[[], None]], callback: Callable[[], None]) -> Callable[[], None]:
    hooks.append(callback)

    def remove() -> None:
        if callback in hooks:
            hooks.remove(callback)

    return remove


def _run_all(callbacks: tuple[Callable[[], None], ...]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # one broken hook must not keep the others from resuming
            log.exception("a hook on the state of the connection raised")


def _api_failure(subject: str, reply: Msg) -> ApiFailure:
    try:
        error = decode(ApiError, reply.data)
    except WireError:
        text = reply.headers.get("Nats-Service-Error") or f"{subject} failed without saying why"
        return ApiFailure("internal", text)
    return ApiFailure(error.code, error.message)
