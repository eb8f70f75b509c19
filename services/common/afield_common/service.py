"""The base of every service: an asynchronous context object that owns exactly one task group.

A service starts in `start()`, works in tasks of `self.tasks`, and stops in five steps:
refuse new work, log what still runs, drain to a deadline, cancel, clean up under a shield.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from afield._bus.connection import Bus
from afield._wire.api import Endpoint
from afield_common import VERSION
from afield_common.log import Logger, bind, get_logger
from afield_common.micro import Handler, MicroService
from afield_common.settings import Settings

CLEANUP_S: Final = 5.0
"""Seconds that the shielded clean-up may take."""

S = TypeVar("S", bound=Settings)


class Service(ABC, Generic[S]):
    """One service on one bus.

    Use it as `async with Service(bus, settings):` or `await service.run()`. A task of the service that fails ends the
    service: the error comes out of the block, in the exception group of the task group.
    """

    role: ClassVar[str]
    """`registry`, `scheduler`, …: also the NATS user and the name in `nats micro ls`."""

    tasks: TaskGroup
    """The task group of everything that the service does; there while the service runs."""

    def __init__(self, bus: Bus, settings: S) -> None:
        self.bus: Final = bus
        self.settings: Final = settings
        self.log: Logger = get_logger(f"afield_{self.role}")
        self._stopping = anyio.Event()
        self._stop_reason = ""
        self._life: AbstractAsyncContextManager[None] | None = None
        self._starting: anyio.CancelScope | None = None
        self._micros: list[MicroService] = []

    # -- for subclasses ---------------------------------------------------------------------------

    @abstractmethod
    async def start(self) -> None:
        """Bring the service up; when it returns, the service is ready. Long work goes into `self.tasks`."""

    async def refuse(self) -> None:
        """Take no new work. The base closes its request endpoints; call it in yours. Must be safe to repeat."""
        for micro in self._micros:
            await micro.close()

    def running(self) -> list[str]:
        """Name what still runs, for the log of a stopping service."""
        return [f"{micro.running} requests" for micro in self._micros if micro.running]

    async def drain(self) -> None:
        """Wait until nothing runs any more. Given up after `drain_limit_s` seconds."""
        for micro in self._micros:
            await micro.drained()

    async def cleanup(self) -> None:
        """Release what outlives the tasks. Runs shielded, for CLEANUP_S seconds at most."""

    @property
    def drain_limit_s(self) -> float:
        """Seconds that `drain` may take."""
        return self.settings.drain_s

    @property
    def address(self) -> str:
        """Where the service can be reached, for the readiness line."""
        return self.settings.server

    async def serve(
        self, endpoints: Mapping[Endpoint[Any, Any], Handler], *, metadata: Mapping[str, str] | None = None
    ) -> MicroService:
        """Answer requests as the micro service `role` until the service stops."""
        micro = MicroService(self.bus, self.tasks, self.role, VERSION, metadata or {})
        self._micros.append(micro)
        await micro.open(endpoints)
        return micro

    # -- life -------------------------------------------------------------------------------------

    def request_stop(self, reason: str = "asked to") -> None:
        """Make `run` return, after an orderly stop. Safe to call at any time, also from a signal handler's task."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()
        if self._starting is not None:
            self._starting.cancel()

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stopping.is_set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until `request_stop`. Reports readiness through `task_status`."""
        with bind(role=self.role):
            async with self:
                task_status.started()
                await self._stopping.wait()

    async def __aenter__(self) -> Self:
        self._life = self._live()
        await self._life.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._life is not None
        return await self._life.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        try:
            async with anyio.create_task_group() as self.tasks:
                with anyio.CancelScope() as self._starting:
                    if self._stopping.is_set():  # asked before there was anything to stop
                        self._starting.cancel()
                    await self.start()
                    self.log.info("service ready")
                self._starting = None
                yield
                await self._wind_down()
        finally:
            # Also after a failure or a cancellation, hence the shield and the deadline of its own.
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLEANUP_S) as scope:
                await self.refuse()
                await self.cleanup()
            if scope.cancelled_caught:
                self.log.error("clean-up took too long", seconds=CLEANUP_S)
            self.log.info("service stopped")

    async def _wind_down(self) -> None:
        await self.refuse()
        self.log.info("service stopping", reason=self._stop_reason, running=self.running())
        with anyio.move_on_after(self.drain_limit_s) as scope:
            await self.drain()
        if scope.cancelled_caught:
            self.log.warning("gave up waiting", seconds=self.drain_limit_s, running=self.running())
        self.tasks.cancel_scope.cancel()
