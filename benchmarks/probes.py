"""What client and container can note about a call by themselves, without a listener on the bus to slow it down.

All times are nanoseconds of the one monotonic clock of a host. Messages carry times of the wall clock; `Clock` translates.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic_ns
from typing import Any, Final
from unittest.mock import patch

from afield._bus.msg import parse_headers
from afield._bus.publisher import Flight, Publisher
from afield._inbox import Inbox
from afield._wire.codec import decode
from afield._wire.messages import ResultPack

STORED_AT: Final = "Nats-Time-Stamp"
"""The header in which a republished message says when its stream stored it."""


class Clock:
    """Translates times of the wall clock into times of the monotonic one, `offset_ns` behind it."""

    def __init__(self, offset_ns: int | None = None) -> None:
        self._offset = time.time_ns() - monotonic_ns() if offset_ns is None else offset_ns

    def translate(self, unix_seconds: float) -> int:
        """Translate a time in seconds; a float of today's has a resolution of a quarter of a microsecond."""
        return self.translate_ns(round(unix_seconds * 1e9))

    def translate_ns(self, unix_ns: int) -> int:
        """Translate a time in nanoseconds."""
        return unix_ns - self._offset


def call_of(subject: str) -> str:
    """Return the id of the call whose input goes by under this subject; empty for what is no input."""
    parts = subject.split(".")
    return parts[5] if parts[0] == "in" and len(parts) == 8 else ""


class ClientNotes:
    """What the client of this process does for its calls: call id to hop to time. Noting takes it some microseconds."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._sent: dict[str, int] = {}
        self._results: list[tuple[str, int, bytes | None, bytes]] = []

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take notes during the block; clients must be opened in it."""
        start, launch, on_message = Publisher.start, Publisher.launch, Inbox.on_message

        def started(publisher: Publisher, subject: str, *args: Any, **kwargs: Any) -> Any:
            ack = start(publisher, subject, *args, **kwargs)
            _note(self._sent, subject)
            return ack

        def launched(publisher: Publisher, flight: Flight, *, here: bool) -> None:
            launch(publisher, flight, here=here)
            _note(self._sent, flight.subject)

        def arrived(inbox: Inbox, subject: str, reply: str, headers: bytes | None, data: bytes) -> None:
            self._results.append((subject.split(".")[4], monotonic_ns(), headers, bytes(data)))
            on_message(inbox, subject, reply, headers, data)

        with (
            patch.object(Publisher, "start", started),
            patch.object(Publisher, "launch", launched),
            patch.object(Inbox, "on_message", arrived),
        ):
            yield

    def hops(self) -> dict[str, dict[str, int]]:
        """Return what was noted, call by call. Raises RuntimeError when the server says nothing of when it stored."""
        found = {call_id: {"sent": at} for call_id, at in self._sent.items()}
        for call_id, at, headers, data in self._results:
            stored = parse_headers(headers).get(STORED_AT)
            if stored is None:
                raise RuntimeError(
                    f"expected the header {STORED_AT} in a republished result, got {headers!r}"
                )
            found[call_id]["worker publishes"] = self._clock.translate(decode(ResultPack, data).stored_by)
            found[call_id]["stored result"] = self._clock.translate(
                datetime.fromisoformat(stored).timestamp()
            )
            found[call_id]["woken"] = at
        return found


def _note(times: dict[str, int], subject: str) -> None:
    if call_id := call_of(subject):
        times[call_id] = monotonic_ns()


_received = 0


def received() -> int:
    """Return when this container was sent what it runs; the first call, from which on this is noted, returns 0."""
    from afield._guest.packs import Inbox as GuestInbox

    if not _received:
        patch.object(
            GuestInbox, "accept", _noting(GuestInbox.accept)
        ).start()  # for the life of this container
    return _received


def _noting(accept: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def noted(inbox: Any, frame: Any) -> None:
        global _received
        _received = monotonic_ns()
        accept(inbox, frame)

    return noted
