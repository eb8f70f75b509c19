"""Several services in one process: one that fails does not take the others down."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from afield._bus.connection import Bus
from afield_common.service import Service
from afield_common.settings import Settings
from afield_platform.hosting import FirstStartError, Host, Planned, serve
from afield_platform.serve import secret_settings
from support.nats import NatsServer, free_port


class Sound(Service[Settings]):
    """Runs, and counts how often it was started."""

    role: ClassVar[str] = "sound"
    starts: ClassVar[list[str]] = []
    awaited: ClassVar[dict[str, anyio.Event]] = {}

    async def start(self) -> None:
        self.starts.append(self.role)
        event = self.awaited.get(f"{self.role} {self.starts.count(self.role)}")
        if event is not None:
            event.set()


class Failing(Sound):
    """Fails soon after its first start, but not after the second."""

    role: ClassVar[str] = "failing"

    async def start(self) -> None:
        await super().start()
        if self.starts.count(self.role) == 1:
            self.tasks.start_soon(self._fail)

    async def _fail(self) -> None:
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("on purpose")


class Hopeless(Sound):
    """Cannot be started."""

    role: ClassVar[str] = "hopeless"

    async def start(self) -> None:
        raise RuntimeError("no luck")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings for a server of this test."""
    Sound.starts.clear()
    with NatsServer(tmp_path / "nats") as server:
        yield Settings(server=server.url)


@pytest.mark.anyio
async def test_a_failing_service_starts_again(settings: Settings) -> None:
    """After a failure a service starts again; its neighbour runs on; both stop when asked."""
    hosts = [Host(Sound, settings), Host(Failing, settings)]
    Sound.awaited |= {"sound 1": anyio.Event(), "failing 2": anyio.Event()}
    async with anyio.create_task_group() as tasks:
        for host in hosts:
            tasks.start_soon(host.run)
        with anyio.fail_after(20):
            for event in Sound.awaited.values():
                await event.wait()
        for host in hosts:
            host.stop("the test ends")
    assert sorted(Sound.starts) == ["failing", "failing", "sound"]


@pytest.mark.anyio
async def test_a_service_that_never_starts(settings: Settings) -> None:
    """A failure of the first start is no reason to try again for ever: it is told, with its cause."""
    with pytest.raises(
        FirstStartError, match=r"the hopeless could not be started: RuntimeError\('no luck'\)"
    ):
        await Host(Hopeless, settings).run()


@pytest.mark.anyio
async def test_a_service_starts_while_the_next_is_imported(settings: Settings) -> None:
    """The second is loaded only when the first runs; SIGTERM ends both."""
    up = threading.Event()

    class First(Sound):
        async def start(self) -> None:
            await super().start()
            up.set()

    class Second(Sound):
        role: ClassVar[str] = "second"

        async def start(self) -> None:
            await super().start()
            os.kill(os.getpid(), signal.SIGTERM)

    def load_second() -> type[Sound]:
        assert up.wait(20), "the first did not start meanwhile"
        return Second

    with anyio.fail_after(30):
        await serve([Planned(lambda: First, settings), Planned(load_second, settings)])

    assert Sound.starts == ["sound", "second"]


@pytest.mark.anyio
async def test_a_signal_between_imports_is_heard(settings: Settings) -> None:
    """What is not imported yet is not started any more."""

    up, stopped = threading.Event(), threading.Event()

    class First(Sound):
        async def start(self) -> None:
            await super().start()
            up.set()

        async def cleanup(self) -> None:
            stopped.set()

    def load_last() -> type[Sound]:
        assert up.wait(20), "the first did not start meanwhile"
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(20), "the first was not stopped"
        return Sound

    with anyio.fail_after(60):
        await serve([Planned(lambda: First, settings), Planned(load_last, settings)])

    assert Sound.starts == ["sound"]


def test_each_role_gets_its_own_secrets() -> None:
    """A service gets its own password; the worker also that of its guests, the gateway its bearer token."""
    secrets = {"registry": "r", "worker": "w", "guest": "g", "gateway": "y", "http": "h"}
    assert secret_settings("registry", secrets) == {"token": "registry:r"}
    assert secret_settings("worker", secrets) == {"token": "worker:w", "guest_token": "guest:g"}
    assert secret_settings("gateway", secrets) == {"token": "gateway:y", "gateway_token": "h"}


@pytest.mark.anyio
async def test_a_stop_before_a_service_begins_to_start(settings: Settings) -> None:
    """It may need others to start, which were told to stop as well: it does not wait for them."""

    class Last(Sound):
        async def start(self) -> None:
            await anyio.sleep_forever()

    class Stops(Last):
        def __init__(self, bus: Bus, settings: Settings) -> None:
            super().__init__(bus, settings)
            host.stop("now it has a connection, and is about to start")

    host = Host(Stops, settings)
    with anyio.fail_after(20):
        await host.run()


@pytest.mark.anyio
async def test_a_stop_while_there_is_no_server() -> None:
    """Nobody waits for a server that may never come."""
    host = Host(Sound, Settings(server=f"nats://127.0.0.1:{free_port()}"))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.run)
            await anyio.wait_all_tasks_blocked()
            host.stop("the test ends")
