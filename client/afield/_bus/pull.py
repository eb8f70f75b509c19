"""Pulling deliveries from a durable consumer, without a gap over restarts of the server.

nats-py's `fetch` sleeps out its whole time when the server restarts under it. Here pull requests are fire and forget;
whatever ends one early (its expiry, a refusal, a reconnect, two missed heartbeats) leads to a new one for what it still
owed, so exactly as many deliveries come as were asked for.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from afield._bus.delivery import Delivery
from afield._bus.errors import BusError, BusTimeoutError, ConsumerGoneError
from afield._bus.leaders import ELECTION_S
from afield._bus.msg import DESCRIPTION, STATUS, frame, parse_headers
from afield._bus.subscription import Subscription

if TYPE_CHECKING:
    from afield._bus.connection import Bus

log = logging.getLogger("afield.bus")

RETRY: Final = 0.1
"""Seconds before a refused pull is repeated."""

GONE_AFTER: Final = 2.0
"""Seconds for which nobody may answer pulls (a server starting up) before the consumer counts as gone; ELECTION_S on a
cluster."""

HEARTBEAT_S: Final = 5.0
CLUSTER_HEARTBEAT_S: Final = 1.5
"""Seconds between the signs of life of a consumer that has nothing to deliver. Requests die with the server that leads the
consumer, without a word, and only the silence tells."""

REMAINING = "Nats-Pending-Messages"


class PullLoop:
    """Deliveries of one durable consumer, as many as are asked for.

    `on_delivery` is called inline, in the loop step in which a message arrived, and must be quick. Ask with `demand`;
    `run` must be running. `expires` and `idle_heartbeat` are in seconds; without the latter it is HEARTBEAT_S, on a cluster
    CLUSTER_HEARTBEAT_S.
    """

    def __init__(
        self,
        bus: "Bus",
        stream: str,
        consumer: str,
        on_delivery: Callable[[Delivery], None],
        *,
        expires: float = 30.0,
        idle_heartbeat: float = 0.0,
    ) -> None:
        idle_heartbeat = idle_heartbeat or (CLUSTER_HEARTBEAT_S if bus.clustered else HEARTBEAT_S)
        if not 0 < 2 * idle_heartbeat <= expires:
            raise ValueError(
                f"expected expires >= 2 * idle_heartbeat > 0, got {expires} and {idle_heartbeat}"
            )
        self.stream = stream
        self.consumer = consumer
        self._bus = bus
        self._on_delivery = on_delivery
        self._heartbeat = idle_heartbeat
        self._options = f'"expires":{int(expires * 1e9)},"idle_heartbeat":{int(idle_heartbeat * 1e9)}}}'
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._loop = asyncio.get_running_loop()
        self._subscription: Subscription | None = None
        self._prefix = ""
        self._outstanding = 0
        self._owed = 0
        self._requests = 0
        self._heard = 0.0
        self._answered = 0.0
        self._missing_since = 0.0
        self._repull: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[None] = self._loop.create_future()

    @property
    def outstanding(self) -> int:
        """Deliveries asked for that have not come yet."""
        return self._outstanding

    @property
    def unanswered_s(self) -> float:
        """Seconds for which the server has said nothing, not even a heartbeat, though deliveries are asked for; else 0."""
        return self._loop.time() - self._answered if self._outstanding else 0.0

    def demand(self, n: int) -> None:
        """Ask for `n` more deliveries; the pull request goes out at the end of the loop step.

        Raises ValueError for less than one.
        """
        if n < 1:
            raise ValueError(f"expected a demand of at least one delivery, got {n}")
        if self._outstanding == 0:
            self._heard = self._answered = self._loop.time()
        self._outstanding += n
        if self._subscription is not None and self._bus.connected:
            self._pull(n)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Pull until cancelled or drained.

        Raises ConsumerGoneError when the consumer does not exist, BusError when the server refuses the requests.
        """
        remove_hooks = (self._bus.on_disconnect(self._close), self._bus.on_reconnect(self._reopen))
        try:
            if self._bus.connected:
                self._reopen()
            task_status.started()
            while not self._end.done():
                await asyncio.wait([self._end], timeout=self._heartbeat / 2)
                self._check_heartbeats()
            self._end.result()
        finally:
            for remove in remove_hooks:
                remove()
            self._close()
            if self._repull is not None:
                self._repull.cancel()

    async def drain(self) -> None:
        """Withdraw all requests; returns when the last delivery that was on its way has been handed over.

        `run` then returns. A delivery that cannot reach us any more comes again to somebody when its ack is overdue.
        """
        subscription, self._subscription = self._subscription, None
        self._outstanding = self._owed = 0
        if subscription is not None:
            subscription.close(deaf=False)
            if self._bus.connected:
                try:
                    await self._bus.flush(timeout=5.0)
                except BusTimeoutError:
                    log.warning("draining consumer %s: the server does not answer", self.consumer)
            subscription.mute()
        if not self._end.done():
            self._end.set_result(None)

    # -- requests -------------------------------------------------------------------------------------

    def _pull(self, n: int) -> None:
        # The batch stands in the reply subject, so a status tells what its request was for without a table.
        self._requests += 1
        reply = f"{self._prefix}{self._requests}-{n}"
        body = f'{{"batch":{n},{self._options}'.encode()
        self._bus.write(frame(self._subject, reply, b"", body))

    def _reopen(self) -> None:
        """Pull everything outstanding, under a fresh inbox: the server may still hold requests under the old one."""
        self._close()
        self._prefix = f"{self._bus.inbox.prefix}p{next(self._bus.numbers)}."
        self._subscription = self._bus.open_subscription(self._prefix + "*", self._on_message)
        self._owed = 0
        self._heard = self._loop.time()
        if self._outstanding:
            self._pull(self._outstanding)

    def _close(self) -> None:
        """Withdraw all requests. What is on its way to us is still handed over."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            subscription.close(deaf=False)
            self._loop.call_later(2 * self._heartbeat, subscription.mute)

    def _owe(self, n: int, delay: float) -> None:
        """Ask again for `n` deliveries that an ended request did not bring."""
        self._owed += n
        if self._repull is None:
            self._repull = self._loop.call_later(delay, self._pay)

    def _pay(self) -> None:
        self._repull = None
        n, self._owed = min(self._owed, self._outstanding), 0
        if n > 0 and self._subscription is not None and self._bus.connected:
            self._pull(n)

    def _check_heartbeats(self) -> None:
        """With requests open, the server must say something every heartbeat; after two missed ones, start over.

        It forgets requests without a word when a consumer has too many of them (with heartbeats it sends no 409).
        """
        silent = self._loop.time() - self._heard
        pulling = self._outstanding and self._subscription is not None and self._bus.connected
        if pulling and silent > 2.2 * self._heartbeat:
            log.warning("consumer %s was silent for %.1f s: pulling anew", self.consumer, silent)
            self._reopen()

    # -- what comes -----------------------------------------------------------------------------------

    def _on_message(self, subject: str, reply: str, raw_headers: bytes | None, data: bytes) -> None:
        self._heard = self._answered = self._loop.time()
        if reply:
            if self._outstanding:
                self._outstanding -= 1
            self._missing_since = 0.0
            self._on_delivery(Delivery(self._bus, subject, reply, raw_headers, data))
        else:
            self._on_status(subject, parse_headers(raw_headers))

    def _on_status(self, subject: str, headers: dict[str, str]) -> None:
        status, description = headers.get(STATUS, ""), headers.get(DESCRIPTION, "")
        if status == "503":
            self._on_nobody(subject)
            return
        self._missing_since = 0.0
        if status == "100":
            return
        remaining = int(headers.get(REMAINING) or _batch(subject))
        if status == "409" and ("Consumer Deleted" in description or "push based" in description):
            self._fail(ConsumerGoneError(self.stream, self.consumer, description))
        elif status in ("404", "408"):
            self._owe(remaining, 0)
        elif status == "409":
            log.info("consumer %s ended a pull: %s", self.consumer, description)
            self._owe(remaining, RETRY)
        else:
            self._fail(
                BusError(f"consumer {self.consumer} on {self.stream} refused a pull: {status} {description}")
            )

    def _on_nobody(self, subject: str) -> None:
        now = self._loop.time()
        if not self._missing_since:
            self._missing_since = now
        if now - self._missing_since >= (ELECTION_S if self._bus.clustered else GONE_AFTER):
            self._fail(ConsumerGoneError(self.stream, self.consumer, "nobody answers its pulls"))
        else:
            self._owe(_batch(subject), RETRY)

    def _fail(self, error: BusError) -> None:
        if not self._end.done():
            self._end.set_exception(error)


def _batch(reply_subject: str) -> int:
    return int(reply_subject.rpartition("-")[2])
