"""Requests to workers: start a container, stop one or all of a function."""

from typing import Final

from afield._bus.connection import Bus
from afield._bus.errors import BusError, BusTimeoutError
from afield._wire.api import StartContainer, StopContainer, worker_start, worker_stop
from afield._wire.functions import FunctionRecord
from afield_common.log import get_logger
from afield_scheduler.crews import Placed, Starting

log = get_logger(__name__)

REQUEST_S: Final = 3.0
"""Seconds that a worker has to answer; it only takes note, the container comes later."""


def stop_of(placed: Placed, reason: str, *, only_if_idle: bool, when_idle: bool) -> StopContainer:
    """Return the request to stop one container."""
    return StopContainer(
        container_id=placed.record.container_id,
        function_id=placed.record.function_id,
        app_id=placed.record.app_id,
        only_if_idle=only_if_idle,
        reason=reason,
        when_idle=when_idle,
    )


class Fleet:
    """The workers, as somebody to ask."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self, function: FunctionRecord, start: Starting) -> str:
        """Ask for a container; return the reason of a refusal, empty when it is taken.

        No answer in time counts as taken: the worker's record will show whether it was.
        """
        request = StartContainer(container_id=start.container_id, function=function)
        keys = {
            "container_id": start.container_id,
            "worker_id": start.worker_id,
            "function_id": start.function_id,
        }
        try:
            reply = await self._bus.call(worker_start(start.worker_id), request, timeout=REQUEST_S)
        except BusTimeoutError:
            log.warning("worker did not answer a start in time", **keys)
            return ""
        except BusError as error:
            log.warning("worker could not be asked to start a container", error=str(error), **keys)
            return str(error) or type(error).__name__
        if not reply.accepted:
            log.debug("worker refused a container", reason=reply.reason, **keys)
            return reply.reason or "without a reason"
        log.debug("container requested", **keys)
        return ""

    async def stop(self, worker_id: str, request: StopContainer) -> None:
        """Ask a worker to stop containers; a failure is logged, and what still runs is found by the next sweep."""
        keys = {
            "container_id": request.container_id,
            "worker_id": worker_id,
            "function_id": request.function_id,
        }
        try:
            await self._bus.call(worker_stop(worker_id), request, timeout=REQUEST_S)
        except BusError as error:
            log.warning("worker could not be asked to stop containers", error=str(error), **keys)
        else:
            log.debug("stop requested", reason=request.reason, **keys)
