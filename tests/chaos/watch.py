"""What the streams say: results as they are stored, and what is left at the end."""

import time
from collections.abc import Callable

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._bus.msg import parse_headers
from afield._wire.codec import decode
from afield._wire.messages import InputResult, ResultPack
from afield.serialization import loads
from afield_common.jetstream import JetStream
from chaos.evidence import Stored


class Watch:
    """Notes every result that the stream republishes; messages are missed while the connection is down.

    A new leader of a cluster republishes what the one before it had just stored: that is the same message once more.
    """

    def __init__(self, bus: Bus, number_of: Callable[[object], int] | None = None) -> None:
        """`number_of` returns the number of the input of a single call from its result, be it a value or a message."""
        self.stored: list[Stored] = []
        self._number_of = number_of
        self._known: set[tuple[str, str]] = set()
        self.first = anyio.Event()
        """Set at the first result."""
        self._subscription = bus.open_subscription("res.>", self._on_result)

    def close(self) -> None:
        """Note no more."""
        self._subscription.close()

    def _on_result(self, subject: str, _reply: str, headers: bytes | None, data: bytes) -> None:
        now = time.monotonic()
        message = subject, parse_headers(headers)["Nats-Sequence"]
        if message in self._known:
            return
        self._known.add(message)
        if not subject.rpartition(".")[2].startswith("g"):
            pack = decode(ResultPack, data)
            self.first.set()
            self.stored += [
                Stored(self._number(r), subject, now) for r in pack.results if r.status != "moved"
            ]

    def _number(self, result: InputResult) -> int:
        if self._number_of is None:
            return result.index
        if result.error is not None:
            return self._number_of(result.error.message)
        assert isinstance(result.value, bytes)
        return self._number_of(loads(result.value))


async def left_over(bus: Bus, shards: int = 1, *, within: float = 90.0) -> list[str]:
    """Return what is still in the input streams, and the consumers there, `within` seconds after everything ended.

    An app whose registry was away at its end goes when the heartbeats of its client have lapsed.
    """
    jet = JetStream(bus)
    found = ["the streams could not be looked at"]
    with anyio.move_on_after(within):
        while found:
            try:
                found = await _look(jet, shards)
            except BusError as error:
                found = [f"the streams could not be looked at: {error}"]
            if found:
                await anyio.sleep(0.2)
    return found


async def _look(jet: JetStream, shards: int) -> list[str]:
    found = []
    for shard in range(shards):
        stream = f"IN_{shard}"
        info = await jet.request(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        if info["state"]["messages"]:
            subjects = sorted(info["state"].get("subjects") or {})
            found.append(f"{info['state']['messages']} inputs in {stream}: {subjects[:5]}")
        consumers = [state.name async for state in jet.consumers(stream)]
        if consumers:
            found.append(f"consumers on {stream}: {consumers[:5]}")
    return found
