"""Keeps several services of one process running, each with a bus and a NATS user of its own.

A service that fails is started again, after a pause that grows, and the others do not notice.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from afield._bus.connection import Bus
from afield_common import log
from afield_common.main import notify_ready, stop_on_signals
from afield_common.service import Service
from afield_common.settings import Settings
from afield_platform.backoff import Backoff


class FirstStartError(Exception):
    """A service could not be started for the first time: something is wrong that a restart does not mend."""


class Host:
    """Keeps one service running until told to stop."""

    def __init__(self, make: type[Service[Any]], settings: Settings) -> None:
        self._make = make
        self._settings = settings
        self._service: Service[Any] | None = None
        self._connecting: anyio.CancelScope | None = None
        self._stopping = anyio.Event()
        self._was_ready = False
        self._backoff = Backoff()
        self._log = log.get_logger(__name__)

    async def run(self) -> None:
        """Run the service, again after each failure, until `stop`.

        Raises FirstStartError when it fails before it was ever ready: then the whole process had better end and say so.
        """
        while not self._stopping.is_set():
            began = time.monotonic()
            problem: Exception | None = None
            try:
                await self._run_once()
            except Exception as error:  # whatever it is, the other services must go on
                problem = error
            if self._stopping.is_set():
                return
            if not self._was_ready:
                self._log.error("service could not be started", role=self._make.role, exc_info=problem)
                raise FirstStartError(f"the {self._make.role} could not be started: {root_cause(problem)!r}")
            pause = self._backoff.delay(time.monotonic() - began)
            self._log.error(
                "service ended; starting it again", role=self._make.role, pause_s=pause, exc_info=problem
            )
            with anyio.move_on_after(pause):
                await self._stopping.wait()

    def stop(self, reason: str) -> None:
        """Make `run` return, after an orderly stop of the service."""
        self._stopping.set()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._service is not None:
            self._service.request_stop(reason)

    async def _run_once(self) -> None:
        with anyio.CancelScope() as self._connecting:
            async with Bus.open(self._settings.address, name=f"afield-{self._make.role}") as bus:
                self._connecting = None
                await self._run_on(bus)

    async def _run_on(self, bus: Bus) -> None:
        self._service = service = self._make(bus, self._settings)
        if self._stopping.is_set():  # what it needs to start may have stopped already
            service.request_stop("asked to")
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(service.run)
                if not service.stop_requested:
                    notify_ready(service.role, service.address)
                    self._was_ready = True
        finally:
            self._service = None


def root_cause(error: BaseException | None) -> BaseException | None:
    """Return what is inside of exception groups: the first leaf."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Planned(NamedTuple):
    """A service that is yet to be imported."""

    load: Callable[[], type[Service[Any]]]
    settings: Settings


async def serve(services: Sequence[Planned]) -> None:
    """Run services until SIGTERM or SIGINT; the third signal ends the process at once.

    Each is imported in a thread, and starts while those behind it are imported: the first one makes streams meanwhile.
    """
    hosts: list[Host] = []
    stopped: list[str] = []

    def stop(reason: str) -> None:
        stopped.append(reason)
        for host in hosts:
            host.stop(reason)

    async with anyio.create_task_group() as signals:
        await signals.start(stop_on_signals, stop)
        async with anyio.create_task_group() as tasks:
            for load, settings in services:
                host = Host(await anyio.to_thread.run_sync(load), settings)
                if stopped:
                    break
                hosts.append(host)
                tasks.start_soon(host.run)
            # What has been imported stays: the collector need not look at it again and again.
            gc.freeze()
            gc.enable()
        signals.cancel_scope.cancel()
