"""Publishes the inputs that go on by themselves: their next attempt, or the same one once more."""

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any, Final

from afield._bus.connection import Bus
from afield._bus.errors import BusTimeoutError, PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.messages import Attempt, InputPack, InputResult
from afield._wire.subjects import Pack
from afield_common.log import get_logger
from afield_worker.attempts import past
from afield_worker.held import Held, Moved
from afield_worker.insistence import Insistence, Start
from afield_worker.instructions import Settle

log = get_logger(__name__)

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

    async def publish(self, settle: Settle) -> Settle:
        """Publish packs of one, each under its own message id: another run of this pack may have moved some of them.

        Returns what is left to store. Raises BusError if an input that was lost with others cannot go on by itself.
        """
        held = settle.held
        starts = [partial(self._start, held, each) for each in settle.moved]
        acks = []
        for start in starts:
            await self._bus.publisher.ready()
            acks.append(start())
        stuck: list[Moved] = []
        end = time.monotonic() + MOVE_PATIENCE_S
        for moved, start, ack in zip(settle.moved, starts, acks, strict=True):
            try:
                await self._taken(start, ack, end)
            except StreamFullError:
                if moved.error is None:
                    raise
                stuck.append(moved)
        return _without(settle, stuck) if stuck else settle

    async def _taken(self, start: Start, ack: "asyncio.Future[Any]", end: float) -> None:
        try:
            await ack
        except PublishRefusedError as error:
            if error.err_code != RESULT_EXISTS:  # it waits there already
                await self._insistence.publish(start, end - time.monotonic(), MOVE_PAUSE_S)
        except BusTimeoutError:
            await self._insistence.publish(start, end - time.monotonic(), MOVE_PAUSE_S)

    def _start(self, held: Held, moved: Moved) -> "asyncio.Future[Any]":
        subject, message = _pack_of_one(held, moved)
        msg_id = f"{message.call_id}.{moved.input_index}-1.{moved.attempt}"
        return self._bus.publisher.start(subject, encode(message), msg_id=msg_id)


def _pack_of_one(held: Held, moved: Moved) -> tuple[str, InputPack]:
    """Return subject and message of an input that goes on by itself."""
    pack = held.pack
    message = replace(
        pack,
        first=moved.input_index,
        args=(pack.args[moved.input_index - pack.first],),
        attempt=moved.attempt,
        losses=moved.losses,
        history=_history(pack, moved),
        not_before=time.time() + moved.delay if moved.delay > 0 else 0.0,
    )
    address = subjects.parse_input(held.subject)
    return str(address._replace(pack=Pack(moved.input_index, 1), attempt=moved.attempt)), message


def _history(pack: InputPack, moved: Moved) -> tuple[Attempt, ...]:
    """Return the attempts before the one that an input goes on with."""
    if moved.error is None:
        return pack.history
    return (*pack.history, past(pack.attempt, moved.error, time.time()))


def _without(settle: Settle, stuck: list[Moved]) -> Settle:
    """Return what is to be stored when there is no room for another attempt of these inputs: their errors stand."""
    held, now = settle.held, time.time()
    held.moved = [each for each in held.moved if each not in stuck]
    ended: dict[int, InputResult] = {}
    for moved in stuck:
        assert moved.error is not None
        told = Attempt(
            number=moved.attempt,
            kind="internal",
            message=f"there was no room in the queue for it for {MOVE_PATIENCE_S:g} s",
            at=now,
        )
        error = replace(moved.error, history=(*held.pack.history, told))
        ended[moved.input_index] = InputResult(index=moved.input_index, status="error", error=error)
    log.warning("no room for further attempts", call_id=held.pack.call_id, inputs=len(stuck))
    results = tuple(ended.pop(result.index, result) for result in settle.results)
    return settle._replace(results=(*results, *ended.values()))
