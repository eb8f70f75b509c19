"""What a worker says to others: events, wakes for the scheduler, calls that it wants cancelled."""

import time
from typing import Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure, BusBufferFullError, BusClosedError, BusError
from afield._wire import subjects
from afield._wire.api import CALL_CANCEL, CallRef
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord
from afield._wire.messages import Event, EventKind, Wake
from afield_common.log import get_logger
from afield_worker.held import Held
from afield_worker.instructions import CancelCalls, Report

log = get_logger(__name__)

CANCEL_S: Final = 60.0
"""Seconds for which the scheduler is asked to cancel the calls of one input; it may be about to start."""

CANCEL_PAUSE_S: Final = 1.0

LAST_WORDS_S: Final = 2.0
"""Seconds that a worker which ends stays for that."""

AT_ONCE: Final = 16
"""Requests to cancel under way at the same time."""


_SAID: Final[dict[EventKind, str]] = {
    "container.ready": "a container of %s is ready, %s",
    "container.stopped": "a container of %s has ended: %s",
}


class Herald:
    """Says things on the bus. Only cancellations are repeated: the rest may be lost."""

    def __init__(self, bus: Bus, tasks: TaskGroup, worker_id: str) -> None:
        self._bus = bus
        self._tasks = tasks
        self._worker_id = worker_id
        self._at_once = anyio.Semaphore(AT_ONCE)
        self._cancelling = 0
        self._quiet = anyio.Event()
        self._quiet.set()

    def report(self, report: Report, record: FunctionRecord) -> None:
        """Publish an event."""
        keys = {"worker_id": self._worker_id, "container_id": report.container_id}
        keys |= {"function_id": report.function_id, "app": record.app_name, "app_id": report.app_id}
        if report.kind == "container.failed":
            log.warning("a container of %s failed: %s", record.spec.name, report.detail, **keys)
        elif report.kind == "container.notice":
            log.info("a container of %s says: %s", record.spec.name, report.detail, **keys)
        elif (said := _SAID.get(report.kind)) is not None:
            log.info(said, record.spec.name, report.detail, **keys)
        else:
            log.debug(report.kind, detail=report.detail, **keys)
        event = Event(
            kind=report.kind,
            at=time.time(),
            app_id=report.app_id,
            worker_id=self._worker_id,
            detail=report.detail,
            container_id=report.container_id,
            function_id=report.function_id,
            error=report.error,
        )
        self._say(subjects.event(record.ws, report.app_id, report.function_id), encode(event))

    def wake(self, held: Held) -> None:
        """Tell the scheduler that inputs went back to the stream, or will."""
        address = subjects.parse_input(held.subject)
        wake = Wake(ws=address.ws, function_id=address.function_id, outstanding=len(held.moved))
        self._say(subjects.wake(address.shard), encode(wake))

    def cancel_calls(self, cancel: CancelCalls) -> None:
        """Have the scheduler cancel calls."""
        self._cancelling += 1
        self._quiet = anyio.Event() if self._quiet.is_set() else self._quiet
        self._tasks.start_soon(self._cancel_calls, cancel)

    async def quiet(self) -> None:
        """Wait until no call is about to be cancelled, for LAST_WORDS_S seconds at most: the scheduler may end, too."""
        with anyio.move_on_after(LAST_WORDS_S):
            await self._quiet.wait()

    async def _cancel_calls(self, cancel: CancelCalls) -> None:
        try:
            with anyio.move_on_after(CANCEL_S) as scope:
                async with anyio.create_task_group() as tasks:
                    for call_id in cancel.call_ids:
                        tasks.start_soon(self._cancel, cancel.ws, call_id)
            if scope.cancelled_caught:
                log.warning("not all calls whose caller is gone were cancelled", calls=len(cancel.call_ids))
        finally:
            self._cancelling -= 1
            if not self._cancelling:
                self._quiet.set()

    async def _cancel(self, ws: str, call_id: str) -> None:
        async with self._at_once:
            while True:
                try:
                    await self._bus.call(CALL_CANCEL, CallRef(ws=ws, call_id=call_id))
                    return
                except BusClosedError:
                    return
                except BusError as error:
                    if isinstance(error, ApiFailure) and error.code == "not_found":
                        return  # it has ended
                    log.debug("call not cancelled, trying again", call_id=call_id, error=str(error))
                await anyio.sleep(CANCEL_PAUSE_S)  # no event tells when a scheduler leads again

    def _say(self, subject: str, payload: bytes) -> None:
        """Publish what may be lost."""
        try:
            self._bus.send(subject, payload)
        except BusBufferFullError as error:
            log.warning("not published", subject=subject, error=str(error))
