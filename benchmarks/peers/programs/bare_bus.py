"""The limit: the streams of afield and two processes, with no function, container or service around them.

An input is stored, pulled and answered; the answer is stored and republished to the client, and only then is the input
acknowledged. A call is a message of its own; a map sends its values as afield does, 64 in a message.
"""

import asyncio
import itertools
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgpack
import uvloop

from afield._bus.connection import Bus, BusAddress
from afield._bus.msg import Msg
from benchmarks.bare_path import streams
from benchmarks.peers.programs.peer import Fly, Peer, cut, not_applicable
from benchmarks.peers.programs.serve import serve
from benchmarks.peers.programs.servers import Child, start_nats

PACK: Final = 64
CHUNK: Final = 256 * 1024

T = TypeVar("T")


class BareBus(Peer):
    """Messages to `bare_responder`, which sends them back."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._children: list[Child] = []
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._bus: Bus

    def start(self, slots: int) -> None:
        server, url = start_nats()
        self._children.append(server)
        ready = self._loop.create_future()
        # One task holds the connection from begin to end, as its task group demands.
        self._life = self._loop.create_task(self._connected(BusAddress(url, "", ""), ready))
        self._loop.run_until_complete(asyncio.wait({ready, self._life}, return_when="FIRST_COMPLETED"))
        if self._life.done():
            self._life.result()
        command = [sys.executable, "-m", "benchmarks.peers.programs.bare_responder"]
        self._children.append(Child([*command, url, str(slots)]))

    async def _connected(self, address: BusAddress, ready: "asyncio.Future[None]") -> None:
        async with streams(address), Bus.open(address, name="bare-client") as self._bus:
            await self._bus.subscribe("benchres.>", self._arrived)
            await self._bus.flush()
            ready.set_result(None)
            await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()
        if self._life is not None:
            self._loop.run_until_complete(self._life)
        for child in reversed(self._children):
            child.kill()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _arrived(self, msg: Msg) -> None:
        self._waiting.pop(msg.subject).set_result(msg.data)

    async def _each(self, payloads: Sequence[bytes], kind: str = "echo") -> list[bytes]:
        """Send messages, as many at once as the window takes, and return the answers in order."""
        answers = []
        for payload in payloads:
            name = f"{kind}.{next(self._numbers)}"
            future: asyncio.Future[bytes] = self._loop.create_future()
            self._waiting[f"benchres.{name}"] = future
            answers.append(future)
            await self._bus.publisher.ready()
            self._bus.publisher.start(f"benchin.{name}", payload, msg_id=name)
        return [await answer for answer in answers]

    def call(self, value: int) -> int:
        return int(self._run(self._each([b"%d" % value]))[0])

    def map(self, values: Sequence[int]) -> list[int]:
        packs = [msgpack.packb(list(part)) for part in cut(values, PACK)]
        return [value for pack in self._run(self._each(packs)) for value in msgpack.unpackb(pack)]

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        return self.map(values)

    def naps(self, count: int, seconds: float) -> list[float]:
        return [float(each) for each in self._run(self._each([b"%f" % seconds] * count, "nap"))]

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        def all_at_once(values: Sequence[int]) -> list[int]:
            return [int(each) for each in self._run(self._each([b"%d" % value for value in values]))]

        yield all_at_once

    def echo(self, data: bytes) -> bytes:
        chunks = [data[first : first + CHUNK] for first in range(0, len(data), CHUNK)]
        return b"".join(self._run(self._each(chunks)))

    def cold(self, number: int) -> int:
        not_applicable("nothing is started for a call")


if __name__ == "__main__":
    serve(BareBus())
