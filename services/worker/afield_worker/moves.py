"""Publishes the inputs that go on by themselves: their next attempt, or the same one once more."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from afield._bus.connection import Bus
from afield._bus.errors import BusTimeoutError, PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.messages import Attempt, ErrorInfo, InputPack, InputResult, Move
from afield._wire.subjects import Pack
from afield_worker.attempts import past
from afield_worker.held import Held, Moved
from afield_worker.insistence import Insistence, Start

MOVE_PAUSE_S: Final = 0.1
"""Between tries for room in the input stream. Callers try less often: one free place, handed from input to input, is enough
for all of them to go on."""

MOVE_PATIENCE_S: Final = 10.0
"""Seconds that the next attempt of an input waits for room in the input stream. Not for ever: should all that is in a full
stream want another attempt, none would ever leave it. Without one, the error of this attempt stands."""


class Moves:
    """Puts packs of one into the input stream."""

    def __init__(self, bus: Bus, insistence: Insistence) -> None:
        self._bus = bus
        self._insistence = insistence

    async def publish(self, held: Held, moves: Sequence[Move]) -> list[Move]:
        """Publish packs of one, each under its own message id: another run of this pack may have moved some of them.

        Returns those for which the stream had no room, for MOVE_PATIENCE_S. Raises BusError.
        """
        starts = [partial(self._start, held, each) for each in moves]
        acks = []
        for start in starts:
            await self._bus.publisher.ready()
            acks.append(start())
        stuck: list[Move] = []
        end = time.monotonic() + MOVE_PATIENCE_S
        for move, start, ack in zip(moves, starts, acks, strict=True):
            try:
                await self._taken(start, ack, end)
            except StreamFullError:
                stuck.append(move)
        return stuck

    async def _taken(self, start: Start, ack: "asyncio.Future[Any]", end: float) -> None:
        try:
            await ack
        except PublishRefusedError as error:
            if error.err_code != RESULT_EXISTS:  # it waits there already
                await self._insistence.publish(start, end - time.monotonic(), MOVE_PAUSE_S)
        except BusTimeoutError:
            await self._insistence.publish(start, end - time.monotonic(), MOVE_PAUSE_S)

    def _start(self, held: Held, move: Move) -> "asyncio.Future[Any]":
        subject, message = _pack_of_one(held, move)
        msg_id = f"{message.call_id}.{move.index}-1.{move.attempt}"
        return self._bus.publisher.start(subject, encode(message), msg_id=msg_id)


def plan(held: Held, moved: Iterable[Moved], now: float) -> tuple[Move, ...]:
    """Return how inputs go on that leave their pack; `now` is Unix time."""
    attempt = held.pack.attempt
    return tuple(
        Move(
            index=each.input_index,
            attempt=each.attempt,
            losses=each.losses,
            not_before=now + each.delay if each.delay > 0 else 0.0,
            ended=None if each.error is None else past(attempt, each.error, now),
        )
        for each in moved
    )


def no_room(held: Held, move: Move, error: ErrorInfo, now: float) -> InputResult:
    """Return the end of an input for whose next attempt there is no room: the error of the last one stands."""
    told = Attempt(
        number=move.attempt,
        kind="internal",
        message=f"there was no room in the queue for it for {MOVE_PATIENCE_S:g} s",
        at=now,
    )
    error = replace(error, history=(*held.pack.history, told))
    return InputResult(index=move.index, status="error", error=error)


def _pack_of_one(held: Held, move: Move) -> tuple[str, InputPack]:
    """Return subject and message of an input that goes on by itself."""
    pack = held.pack
    message = replace(
        pack,
        first=move.index,
        args=(pack.args[move.index - pack.first],),
        attempt=move.attempt,
        losses=move.losses,
        history=pack.history if move.ended is None else (*pack.history, move.ended),
        not_before=move.not_before,
    )
    address = subjects.parse_input(held.subject)
    return str(address._replace(pack=Pack(move.index, 1), attempt=move.attempt)), message
