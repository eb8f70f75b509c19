"""The process of one service: settings, log, signals, the bus, readiness. Each `__main__` calls `run_service`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import TaskStatus

from afield._bus.connection import Bus
from afield._bus.errors import BusConnectError
from afield_common import log
from afield_common.service import Service
from afield_common.settings import BAD_SETTINGS, Settings, describe

READY_FD = "AFIELD_READY_FD"
"""Environment variable that names the file descriptor which wants to hear that a service is ready."""

REACH_S: Final = 3.0
"""Seconds without a server after which people are told what to set."""

S = TypeVar("S", bound=Settings)


def run_service(service: type[Service[S]], settings: type[S], argv: Sequence[str] | None = None) -> int:
    """Run a service as this process until SIGTERM or SIGINT; return the exit status.

    Raises nothing for bad settings, which are told on stderr, with status 2, nor for a server that cannot be reached:
    that is logged, with status 1.
    """
    try:
        chosen = settings.load(sys.argv[1:] if argv is None else argv)
    except BAD_SETTINGS as error:
        print(describe(error), file=sys.stderr)
        return 2
    log.configure(chosen.log_level, chosen.log_format)
    try:
        anyio.run(_main, service, chosen, backend_options={"use_uvloop": uvloop_is_here()})
    except BusConnectError as error:
        log.get_logger(__name__).error(f"gave up: {error}; {_advice(chosen)}", role=service.role)
        return 1
    return 0


def uvloop_is_here() -> bool:
    """Tell whether the faster event loop can be used."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def notify_ready(role: str, address: str) -> None:
    """Write the readiness line of a service to the descriptor that asked for it, if one did."""
    fd = os.environ.get(READY_FD)
    if fd:
        line = json.dumps({"ready": role, "address": address}) + "\n"
        os.write(int(fd), line.encode())


async def stop_on_signals(
    *stops: Callable[[str], object], task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call each of `stops` with the name of the signal at every SIGTERM and SIGINT; end the process hard at the third."""
    seen = 0
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            seen += 1
            if seen >= 3:
                os._exit(128 + number)  # somebody insists; what we own dies with us
            for stop in stops:
                stop(signal.Signals(number).name)


class _ReadinessLine:
    """A task status that tells the starter of this process."""

    def __init__(self, service: Service[Any]) -> None:
        self._service = service

    def started(self, value: None = None) -> None:  # noqa: ARG002 - the signature of anyio's TaskStatus
        if not self._service.stop_requested:
            notify_ready(self._service.role, self._service.address)


def _advice(settings: Settings) -> str:
    user = settings.address.user
    token = f"(user {user!r} now)" if user else "(empty now)"
    return f"set AFIELD_SERVER to the URL of the NATS server and AFIELD_TOKEN to <role>:<secret> {token}"


async def _main(make: type[Service[S]], settings: S) -> None:
    with log.bind(role=make.role):
        tell = log.get_logger(__name__).warning
        advice = f"no NATS server lets us in at {settings.server} yet; {_advice(settings)}"
        hint = asyncio.get_running_loop().call_later(REACH_S, tell, advice)
        async with Bus.open(settings.address, name=f"afield-{make.role}") as bus:
            hint.cancel()
            service = make(bus, settings)
            async with anyio.create_task_group() as tasks:
                await tasks.start(stop_on_signals, service.request_stop)
                await service.run(task_status=_ReadinessLine(service))
                tasks.cancel_scope.cancel()
