"""Atomic batches: many messages to one stream, all stored or none, with one write to disk."""

import asyncio
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from afield._bus.errors import BusError, BusTimeoutError, NoRespondersError, PublishRefusedError
from afield._bus.leaders import TRANSIENT
from afield._bus.msg import check_subject, encode_headers, no_responders
from afield._bus.publisher import read_ack
from afield._wire.ids import random_body

if TYPE_CHECKING:
    from afield._bus.connection import Bus

MAX_MESSAGES: Final = 1000
"""The server's limit for one batch."""

MAX_BYTES: Final = 8 * 2**20
"""Bytes of payload in one batch, beyond which the server and we would hold too much at once."""

AT_ONCE: Final = 8
"""Batches under way on one bus; the server takes 50 a stream, from everybody together."""

INCOMPLETE: Final = 10176
COMMITTED_BEFORE: Final = 10201
TOO_MANY_AT_ONCE: Final = 10210

ATTEMPT_TIMEOUT: Final = 5.0
"""Seconds without an answer after which a batch is sent again."""

TIMEOUT: Final = 100.0
"""Seconds for which a batch is tried, over an outage of the server: less than the streams' duplicate window."""

_slots: "weakref.WeakKeyDictionary[Bus, asyncio.Semaphore]" = weakref.WeakKeyDictionary()


class BatchMessage(NamedTuple):
    """One message of a batch."""

    subject: str
    payload: bytes
    msg_id: str


async def publish_batch(bus: "Bus", messages: Sequence[BatchMessage], *, timeout: float = TIMEOUT) -> None:
    """Store all messages, or none, in the one stream that takes their subjects.

    It is repeated, unchanged, when the server has too many batches under way or the answer is lost; the message ids make
    that safe within the stream's duplicate window. One message that was stored before, on its own, under its id, would
    make the server take the whole batch for committed: never mix. Raises ValueError for an empty batch, more than
    MAX_MESSAGES or MAX_BYTES, PayloadTooLargeError, PublishRefusedError, NoRespondersError, BusTimeoutError (whether
    it was stored is then not known).
    """
    _check(messages)
    slots = _slots.setdefault(bus, asyncio.Semaphore(AT_ONCE))
    subject = messages[0].subject
    pause = 0.01
    try:
        async with asyncio.timeout(timeout), slots:
            while not await _Attempt(bus, messages).run():
                await anyio.sleep(pause)  # no event tells when the server has room again
                pause = min(pause * 2, 0.5)
    except TimeoutError:
        raise BusTimeoutError(
            f"a batch of {len(messages)} messages ({subject}, …) was not acknowledged within {timeout:g} s: "
            f"whether it is stored is not known"
        ) from None


def _check(messages: Sequence[BatchMessage]) -> None:
    size = sum(len(message.payload) for message in messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or size > MAX_BYTES:
        raise ValueError(
            f"expected 1 to {MAX_MESSAGES} messages of {MAX_BYTES:,} bytes together in a batch, "
            f"got {len(messages)} of {size:,} bytes: split it"
        )
    for message in messages:
        check_subject(message.subject)


class _Attempt:
    """One try to send a batch: all in one go, answered at its first message and at its last."""

    def __init__(self, bus: "Bus", messages: Sequence[BatchMessage]) -> None:
        self._bus = bus
        self._subject = messages[0].subject
        self._done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._first = bus.inbox.open(self._on_first)
        self._last = bus.inbox.open(self._on_last)
        try:
            self._frames = self._build(messages)
        except ValueError:
            self._close()
            raise

    def _build(self, messages: Sequence[BatchMessage]) -> list[bytes]:
        batch_id, count, inbox = random_body(), len(messages), self._bus.inbox.prefix
        frames = []
        for number, message in enumerate(messages, 1):
            headers = {
                "Nats-Batch-Id": batch_id,
                "Nats-Batch-Sequence": str(number),
                "Nats-Msg-Id": message.msg_id,
            }
            reply = inbox + self._first if number == 1 else ""
            if number == count:
                headers["Nats-Batch-Commit"] = "1"
                reply = inbox + self._last
            frames.append(self._bus.frame(message.subject, reply, encode_headers(headers), message.payload))
        return frames

    async def run(self) -> bool:
        """Send it; True when it is stored, False when it is worth another try."""
        remove = self._bus.on_reconnect(self._lost)
        try:
            if not self._bus.connected:
                await self._done  # the reconnect ends this attempt
                return False
            for frame in self._frames:
                self._bus.write(frame)
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                return await self._done
        except TimeoutError:
            return False
        finally:
            remove()
            self._close()

    def _close(self) -> None:
        self._bus.inbox.close(self._first)
        self._bus.inbox.close(self._last)

    def _lost(self) -> None:
        if not self._done.done():
            self._done.set_result(False)

    def _on_first(self, raw_headers: bytes | None, data: bytes) -> None:
        if data or raw_headers is not None:  # an empty answer means: go on
            self._on_last(raw_headers, data)

    def _on_last(self, raw_headers: bytes | None, data: bytes) -> None:
        if self._done.done():
            return
        if no_responders(raw_headers, data) and self._bus.clustered:
            self._done.set_result(False)  # the stream has no leader: one is being elected
            return
        if no_responders(raw_headers, data):
            self._done.set_exception(NoRespondersError(f"no stream takes messages to {self._subject}"))
            return
        try:
            read_ack(self._subject, data)
        except PublishRefusedError as error:
            if error.err_code == COMMITTED_BEFORE:
                self._done.set_result(True)
            elif error.err_code in TRANSIENT or error.err_code in (TOO_MANY_AT_ONCE, INCOMPLETE):
                self._done.set_result(False)
            else:
                self._done.set_exception(error)
        except BusError as error:
            self._done.set_exception(error)
        else:
            self._done.set_result(True)
