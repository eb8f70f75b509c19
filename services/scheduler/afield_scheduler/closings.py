"""The end of all inputs of a function that cannot run: no worker can ever take it, or its code fails to start."""

import time
from collections.abc import Callable
from typing import Final

from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.errors import BusError
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord
from afield._wire.messages import ErrorInfo, Event
from afield_common.endings import Endings, Verdict
from afield_common.jetstream import JetStream
from afield_common.log import get_logger

log = get_logger(__name__)


class Closings:
    """Ends the inputs of functions, one function at a time each, in tasks of the service."""

    def __init__(self, bus: Bus, tasks: TaskGroup, done: Callable[[str], None]) -> None:
        """`done(function_id)` is called when the inputs of a function have been ended, or could not be."""
        self._bus = bus
        self._jet = JetStream(bus)
        self._endings = Endings(bus, time.time)
        self._tasks = tasks
        self._done = done
        self._under_way: set[str] = set()

    def begin(self, function: FunctionRecord, error: ErrorInfo, holds: Callable[[], bool]) -> None:
        """End the inputs that a function has now, as long as `holds()`; nothing if that is under way already."""
        if function.function_id not in self._under_way:
            self._under_way.add(function.function_id)
            self._tasks.start_soon(self._close, function, error, holds)

    async def _close(self, function: FunctionRecord, error: ErrorInfo, holds: Callable[[], bool]) -> None:
        function_id = function.function_id
        wanted = subjects.inputs_of_function(function.shard, function.ws, function_id)
        try:
            # Not what comes later: it may meet another worker, or other code.
            last = await self._jet.last_seq(subjects.input_stream(function.shard))
            ended = await self._endings.end(
                function.shard, wanted, Verdict("error", error), up_to=last, go_on=holds
            )
            if ended.inputs:
                self._tell(function, error, ended.inputs)
        except BusError as problem:  # what is left is found at the next look
            log.warning("could not end inputs", function_id=function_id, error=str(problem))
        finally:
            self._under_way.discard(function_id)
        self._done(function_id)

    def _tell(self, function: FunctionRecord, error: ErrorInfo, inputs: int) -> None:
        log.warning(
            "inputs ended",
            function_id=function.function_id,
            inputs=inputs,
            kind=error.kind,
            error=error.message,
        )
        some = "1 input ends" if inputs == 1 else f"{inputs:,} inputs end"
        event = Event(
            kind="function.failing",
            at=time.time(),
            app_id=function.app_id,
            function_id=function.function_id,
            detail=f"{function.spec.name} cannot run, {some} with this error: {error.message}",
            error=error,
        )
        self._bus.send(subjects.event(function.ws, function.app_id, function.function_id), encode(event))


UNSCHEDULABLE: Final = "unschedulable"


def unschedulable(function: FunctionRecord, reason: str) -> ErrorInfo:
    """Return the error of inputs that no worker can ever run; `reason` says why, worker by worker."""
    return ErrorInfo(kind=UNSCHEDULABLE, message=f"{function.spec.name} cannot run: {reason}")
