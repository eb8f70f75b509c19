"""When the platform has no room for inputs: wait for some, for a while, then say what waits there and what to do."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from afield import output
from afield._bus.batch import MAX_BYTES, MAX_MESSAGES, BatchMessage, publish_batch
from afield._bus.errors import BusError, PublishRefusedError, StreamFullError
from afield._bus.publisher import RESULT_EXISTS
from afield._wire.api import FUNCTION_STATS, FunctionStats, FunctionStatsRequest
from afield._wire.functions import FunctionRecord
from afield.exception import ResourceExhaustedError

if TYPE_CHECKING:
    from afield._platform import Client

logger = logging.getLogger("afield")

SPAWN_PATIENCE_S: Final = 10.0
"""Seconds that a call waits for room whose caller does not wait for its result."""
PATIENCE_S: Final = 60.0
"""Seconds that others wait; a map as long after its latest result."""
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 1.0
TOLD_S: Final = 1.0
"""Seconds of waiting after which the user is told, if output is enabled."""
STATS_S: Final = 2.0
"""Seconds to find out what waits, before the error is raised without it."""


class Room:
    """Room for the inputs of one call. `progress` returns the monotonic time at which some of them ended, or 0."""

    def __init__(
        self,
        client: "Client",
        record: FunctionRecord,
        patience: float,
        progress: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._client = client
        self._record = record
        self._patience = patience
        self._progress = progress
        self._told = False

    async def publish_all(self, messages: Sequence[BatchMessage]) -> None:
        """Publish to one stream, in as few atomic batches as may be.

        Earlier batches stay stored when a later one cannot be. Raises as `publish_batch`, and ResourceExhaustedError.
        """
        for batch in split(messages):
            await self._publish_batch(batch)

    async def _publish_batch(self, batch: Sequence[BatchMessage]) -> None:
        """Publish a batch; where there is room for a part of it only, part by part."""
        try:
            await publish_batch(self._client.bus, batch)
        except StreamFullError as error:
            refusal = error
        else:
            return
        if len(batch) == 1:
            await self.wait_and(partial(publish_batch, self._client.bus, batch), refusal)
            return
        half = len(batch) // 2
        await self._publish_batch(batch[:half])
        await self._publish_batch(batch[half:])

    async def wait_and(self, publish: Callable[[], Awaitable[Any]], refusal: StreamFullError) -> None:
        """Publish again until it is taken. Raises ResourceExhaustedError when patience is over.

        `publish` raises what else keeps it from being stored; that the subject is taken means that it is stored.
        """
        began = time.monotonic()
        pause = FIRST_PAUSE_S
        while time.monotonic() < max(began, self._progress()) + self._patience:
            await anyio.sleep(pause)  # no event tells when a full stream has room
            pause = min(2 * pause, LAST_PAUSE_S)
            try:
                await publish()
            except StreamFullError as error:
                refusal = error
                if time.monotonic() - began >= TOLD_S:
                    self._tell()
            except PublishRefusedError as error:
                if error.err_code != RESULT_EXISTS:
                    raise
                return
            else:
                return
        raise await self._exhausted(refusal) from refusal

    def _tell(self) -> None:
        screen = output.current()
        if screen is not None and not self._told:
            self._told = True
            screen.no_room(self._record.spec.name)

    async def _exhausted(self, refusal: StreamFullError) -> ResourceExhaustedError:
        record = self._record
        stats: FunctionStats | None = None
        try:
            stats = await self._client.bus.call(
                FUNCTION_STATS,
                FunctionStatsRequest(ws=record.ws, function_id=record.function_id),
                timeout=STATS_S,
            )
        except (BusError, TimeoutError) as error:
            logger.debug("could not ask what waits for %s: %s", record.spec.name, error)
        return ResourceExhaustedError(_explain(record, refusal, stats, self._patience))


def split(messages: Sequence[BatchMessage]) -> Iterator[list[BatchMessage]]:
    """Yield the messages in batches that the server takes."""
    batch: list[BatchMessage] = []
    size = 0
    for message in messages:
        if batch and (len(batch) >= MAX_MESSAGES or size + len(message.payload) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.payload)
    if batch:
        yield batch


def _explain(
    record: FunctionRecord, refusal: StreamFullError, stats: FunctionStats | None, patience: float
) -> str:
    if stats is None:
        queue = ""
    else:
        queue = f"; {stats.backlog:,} inputs of function {record.spec.name!r} wait"
        if stats.max_queued:
            queue += f", and {stats.queued:,} in all, of {stats.max_queued:,} that may be queued (AFIELD_MAX_QUEUED)"
    return (
        f"the platform had no room for an input of function {record.spec.name!r} for {patience:g} s "
        f"({refusal.description}){queue}. Make fewer calls at a time, wait for some to finish, or give the platform "
        f"more: workers, a higher AFIELD_MAX_QUEUED, or storage for its NATS server"
    )
