"""What an earlier run of a pack came to, when the pack is delivered once more: its worker was lost, or is slow.

The first result of a pack that is stored decides over it. What it says of inputs that go on by themselves is done by
whoever finds it, because who stored it may have died before that.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import anyio

from afield._bus.connection import Bus
from afield._bus.direct import StoredMessage
from afield._bus.errors import BusClosedError, BusError, StreamFullError
from afield._bus.leaders import read_last
from afield._bus.publisher import STREAM_FULL
from afield._wire import subjects
from afield._wire.codec import decode
from afield._wire.messages import Move, ResultPack
from afield._wire.subjects import Pack
from afield_common.log import get_logger
from afield_worker.held import Held
from afield_worker.moves import Moves

log = get_logger(__name__)

READ_PAUSE_S: Final = 1.0
"""Between tries to read a stream that does not answer."""


class EarlierEnd(NamedTuple):
    """How an earlier run of a pack ended."""

    moves: tuple[Move, ...]
    """How inputs go on, if nobody has seen to that yet."""
    elsewhere: frozenset[int]
    """All inputs that go on in packs of their own."""


class EarlierRuns:
    """Finds out how earlier runs of packs ended. Reads from the leaders of streams: what is stale misleads."""

    def __init__(self, bus: Bus, moves: Moves) -> None:
        self._bus = bus
        self._moves = moves

    async def result(self, held: Held, pack: Pack | None = None) -> ResultPack | None:
        """Return the result that is stored for a pack (or for one that an input of it goes on as)."""
        pack = pack or Pack(held.pack.first, held.size)
        stored = await self._last(subjects.RESULTS_STREAM, subjects.result(held.ws, held.pack.call_id, pack))
        return None if stored is None else decode(ResultPack, stored.data)

    async def end(self, held: Held) -> EarlierEnd | None:
        """Return how an earlier run ended; None if there was none, or it did not come to an end."""
        standing = await self.result(held)
        if standing is not None:
            left = frozenset(result.index for result in standing.results if result.status == "moved")
            return EarlierEnd(standing.moves, left)
        # A pack of one that goes on leaves no result: its next attempt will have the same subject.
        if held.size == 1 and await self._newest(held, held.pack.first) > held.pack.attempt:
            return EarlierEnd((), frozenset({held.pack.first}))
        return None

    async def send_on(self, held: Held, moves: Sequence[Move]) -> None:
        """See to it that inputs go on as an earlier run has it. Raises BusError; then try again later."""
        missing = [
            move
            for move in moves
            if await self._newest(held, move.index) < move.attempt
            and await self.result(held, Pack(move.index, 1)) is None
        ]
        if await self._moves.publish(held, missing):
            raise StreamFullError(held.subject, STREAM_FULL, "an input of an earlier run cannot go on yet")

    async def _newest(self, held: Held, index: int) -> int:
        """Return the newest attempt of an input that waits, or runs, as a pack of one; 0 if there is none."""
        address = subjects.parse_input(held.subject)
        alone = str(address._replace(pack=Pack(index, 1)))
        any_attempt = f"{alone.rpartition('.')[0]}.*"
        stored = await self._last(subjects.input_stream(address.shard), any_attempt)
        return 0 if stored is None else subjects.parse_input(stored.subject).attempt

    async def _last(self, stream: str, subject: str) -> StoredMessage | None:
        while True:
            try:
                return await read_last(self._bus, stream, subject)
            except BusClosedError:
                raise
            except BusError as error:
                log.debug("a stream cannot be read, trying until it can", stream=stream, error=str(error))
                await anyio.sleep(READ_PAUSE_S)  # no event tells when a stream has a leader again
