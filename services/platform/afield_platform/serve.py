"""`python -m afield_platform.serve ROLE...`: several services in one process, each with a bus and a NATS user of its own.

The only place that imports more than one service. A service that fails is started again, after a pause that grows,
and the others do not notice.
"""

import argparse
import gc
import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import anyio

from afield._bus.connection import Bus
from afield_common import log
from afield_common.main import READY_FD, notify_ready, stop_on_signals, uvloop_is_here
from afield_common.service import Service
from afield_common.settings import BAD_SETTINGS, Settings, describe
from afield_platform.backoff import Backoff
from afield_platform.files import read_json
from afield_platform.roles import Service as Role


class FirstStartError(Exception):
    """A service could not be started for the first time: something is wrong that a restart does not mend."""


class Host:
    """Keeps one service running until told to stop."""

    def __init__(self, make: type[Service[Any]], settings: Settings) -> None:
        self._make = make
        self._settings = settings
        self._service: Service[Any] | None = None
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
                raise FirstStartError(f"the {self._make.role} could not be started: {_root(problem)!r}")
            pause = self._backoff.delay(time.monotonic() - began)
            self._log.error(
                "service ended; starting it again", role=self._make.role, pause_s=pause, exc_info=problem
            )
            with anyio.move_on_after(pause):
                await self._stopping.wait()

    def stop(self, reason: str) -> None:
        """Make `run` return, after an orderly stop of the service."""
        self._stopping.set()
        if self._service is not None:
            self._service.request_stop(reason)

    async def _run_once(self) -> None:
        async with Bus.open(self._settings.address, name=f"afield-{self._make.role}") as bus:
            self._service = service = self._make(bus, self._settings)
            try:
                async with anyio.create_task_group() as tasks:
                    await tasks.start(service.run)
                    notify_ready(service.role, service.address)
                    self._was_ready = True
                    if self._stopping.is_set():  # asked while it was starting
                        service.request_stop("asked to")
            finally:
                self._service = None


def _root(error: BaseException | None) -> BaseException | None:
    """Return what is inside of exception groups: the first leaf."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def serve(hosts: Sequence[Host]) -> None:
    """Run services until SIGTERM or SIGINT; the third signal ends the process at once."""
    async with anyio.create_task_group() as signals:
        await signals.start(stop_on_signals, *(host.stop for host in hosts))
        async with anyio.create_task_group() as tasks:
            for host in hosts:
                tasks.start_soon(host.run)
        signals.cancel_scope.cancel()


def load(role: str) -> tuple[type[Service[Any]], type[Settings]]:
    """Import a service; return its class and the class of its settings."""
    name = role.capitalize()
    service = importlib.import_module(f"afield_{role}.service")
    settings = importlib.import_module(f"afield_{role}.settings")
    return getattr(service, f"{name}Service"), getattr(settings, f"{name}Settings")


def secret_settings(role: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a role that are secret: they come from a file, since user code sees the environment."""
    settings = {"token": f"{role}:{secrets[role]}"}
    if role == "worker":
        settings["guest_token"] = f"guest:{secrets['guest']}"
    if role == "gateway":
        settings["gateway_token"] = secrets["http"]
    return settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the roles named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m afield_platform.serve", description=__doc__)
    parser.add_argument("roles", nargs="+", choices=get_args(Role), metavar="ROLE")
    parser.add_argument("--secrets", type=Path, required=True, help="JSON file: a secret for each role")
    args = parser.parse_args(argv)
    secrets = read_json(args.secrets)
    if secrets is None:
        parser.error(f"there is no file {args.secrets}")
    if READY_FD in os.environ:
        os.set_inheritable(int(os.environ[READY_FD]), False)  # containers have no business with it
    hosts = []
    gc.disable()  # imports make no garbage, and looking for it takes a tenth of their time
    try:
        for role in args.roles:
            make, settings = load(role)
            hosts.append(Host(make, settings(**secret_settings(role, secrets))))
    except BAD_SETTINGS as error:
        print(describe(error), file=sys.stderr)
        return 2
    common = Settings()
    log.configure(common.log_level, common.log_format)
    # What has been imported stays: the collector need not look at it again and again.
    gc.freeze()
    gc.enable()
    failed: list[BaseException] = []
    try:
        anyio.run(serve, hosts, backend_options={"use_uvloop": uvloop_is_here()})
    except* FirstStartError as group:
        failed.append(group)
    for each in failed:
        print(_root(each), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
