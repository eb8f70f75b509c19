"""afield_common.service and micro: requests over a real server, and the five steps of a stop."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest

from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure, BusTimeoutError, NoRespondersError
from afield._wire import api
from afield._wire.codec import encode
from afield._wire.functions import AppRecord
from afield_common.errors import RefusedError
from afield_common.micro import serve
from afield_common.service import Service
from afield_common.settings import Settings
from support.nats import NatsServer, free_port
from support.services import connected, running

pytestmark = pytest.mark.anyio


class Slow(Service[Settings]):
    """Answers one endpoint, when it is told to."""

    role: ClassVar[str] = "registry"

    def __init__(self, bus: Bus, settings: Settings | None = None) -> None:
        super().__init__(bus, settings or Settings(drain_s=5))
        self.entered = anyio.Event()
        self.go_on = anyio.Event()
        self.cleaned = False

    async def start(self) -> None:
        await self.serve({api.APP_LIST: self.list_apps, api.APP_GET: self.get_app})

    async def list_apps(self, _: api.ListApps) -> api.AppList:
        self.entered.set()
        await self.go_on.wait()
        return api.AppList(apps=())

    async def get_app(self, request: api.AppRef) -> AppRecord:
        if request.name == "bug":
            raise ZeroDivisionError("by accident")
        raise RefusedError("not_found", f"no app {request.name}")

    async def cleanup(self) -> None:
        self.cleaned = True


def ask(name: str) -> api.AppRef:
    return api.AppRef(ws="main", name=name)


async def test_refusal_reaches_the_caller(bus: Bus) -> None:
    """Code and message of a refusal come out at the caller; a bug comes out as internal."""
    async with running(Slow(bus)):
        with pytest.raises(ApiFailure, match="no app x") as refused:
            await bus.call(api.APP_GET, ask("x"))
        with pytest.raises(ApiFailure, match="ZeroDivisionError") as broken:
            await bus.call(api.APP_GET, ask("bug"))
    assert (refused.value.code, broken.value.code) == ("not_found", "internal")


async def test_malformed_request_is_invalid(bus: Bus) -> None:
    """Bytes that are no request get the code 400 in a header, as NATS tools expect it."""
    async with running(Slow(bus)):
        reply = await bus.request(api.APP_GET.subject, b"\x00")
    assert reply.headers["Nats-Service-Error-Code"] == "400"


async def test_nats_tools_see_the_service(bus: Bus) -> None:
    """PING, INFO and STATS answer, and the figures count."""
    async with running(Slow(bus)):
        with pytest.raises(ApiFailure):
            await bus.call(api.APP_GET, ask("x"))
        ping = json.loads((await bus.request("$SRV.PING.registry")).data)
        info = json.loads((await bus.request(f"$SRV.INFO.registry.{ping['id']}")).data)
        stats = json.loads((await bus.request("$SRV.STATS")).data)
    assert {e["subject"] for e in info["endpoints"]} == {"registry.app.list", "registry.app.get"}
    by_name = {e["name"]: e for e in stats["endpoints"]}
    assert (by_name["app-get"]["num_requests"], by_name["app-get"]["num_errors"]) == (1, 1)


async def test_requests_run_side_by_side(bus: Bus) -> None:
    """A slow request does not hold up another one of the same service."""
    async with running(Slow(bus)) as service, anyio.create_task_group() as tasks:
        tasks.start_soon(bus.call, api.APP_LIST, api.ListApps(ws="main"))
        await service.entered.wait()
        with pytest.raises(ApiFailure):
            await bus.call(api.APP_GET, ask("x"))
        service.go_on.set()


async def test_stop_drains_what_runs(bus: Bus) -> None:
    """A stopping service takes no new requests, finishes those that run, and cleans up last."""
    answers: list[api.AppList] = []

    async def call() -> None:
        answers.append(await bus.call(api.APP_LIST, api.ListApps(ws="main")))

    async with anyio.create_task_group() as tasks, running(Slow(bus)) as service:
        tasks.start_soon(call)
        await service.entered.wait()
        service.request_stop()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(NoRespondersError):
            await bus.request(api.APP_GET.subject, b"")
        assert not service.cleaned
        service.go_on.set()
    assert answers == [api.AppList(apps=())]
    assert service.cleaned


async def test_no_request_is_lost_when_an_instance_leaves(bus: Bus) -> None:
    """What the server had already sent to an instance that closes is still answered by it."""
    answers: list[api.AppList] = []

    async def call() -> None:
        answers.append(await bus.call(api.APP_LIST, api.ListApps(ws="main"), timeout=5))

    async with (
        connected(bus.address.url) as one,
        connected(bus.address.url) as two,
        running(Slow(one)) as leaving,
        running(Slow(two)) as staying,
        anyio.create_task_group() as tasks,
    ):
        leaving.go_on.set()
        staying.go_on.set()
        for n in range(200):
            tasks.start_soon(call)
            if n == 100:
                await anyio.lowlevel.checkpoint()
                leaving.request_stop()
    assert len(answers) == 200


async def test_stop_gives_up_at_the_deadline(bus: Bus) -> None:
    """What does not end in time is cancelled, and the clean-up still runs."""
    service = Slow(bus, Settings(drain_s=0))

    async def call() -> None:
        with pytest.raises(BusTimeoutError):
            await bus.request(api.APP_LIST.subject, encode(api.ListApps(ws="main")), timeout=0.5)

    async with anyio.create_task_group() as tasks, running(service):
        tasks.start_soon(call)
        await service.entered.wait()
    assert not service.go_on.is_set()
    assert service.cleaned


async def test_stop_during_the_start(bus: Bus) -> None:
    """A service that still waits for something when it is told to stop does so, cleaned up."""

    class Stuck(Slow):
        async def start(self) -> None:
            self.entered.set()
            await anyio.sleep_forever()

    service = Stuck(bus)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run)
        await service.entered.wait()
        service.request_stop()
    assert service.cleaned


async def test_failing_task_ends_the_service(bus: Bus) -> None:
    """A task that fails brings its service down, loudly, and cleaned up."""

    class Broken(Slow):
        async def start(self) -> None:
            await super().start()
            self.tasks.start_soon(self.fail)

        async def fail(self) -> None:
            raise OSError("disk on fire")

    service = Broken(bus)
    with pytest.raises(ExceptionGroup) as caught:
        await service.run()
    assert caught.group_contains(OSError, match="disk on fire")
    assert service.cleaned


async def test_service_survives_a_server_restart(server: NatsServer, bus: Bus) -> None:
    """After the server was killed and came back, requests are answered again."""
    async with connected(server.url) as own, running(Slow(own)):
        await anyio.to_thread.run_sync(server.restart)
        with pytest.raises(ApiFailure, match="no app x"):
            await bus.call(api.APP_GET, ask("x"), timeout=20)


async def test_overload_is_refused(bus: Bus) -> None:
    """Beyond the bound, callers are told to try again, at once."""
    entered, blocked = anyio.Event(), anyio.Event()

    async def block(_: api.ListApps) -> api.AppList:
        entered.set()
        await blocked.wait()
        return api.AppList(apps=())

    async with (
        anyio.create_task_group() as tasks,
        serve(bus, tasks, "x", "1.0.0", {api.APP_LIST: block}, max_running=1) as micro,
    ):
        tasks.start_soon(bus.call, api.APP_LIST, api.ListApps(ws="main"))
        await entered.wait()
        with pytest.raises(ApiFailure, match="try again") as caught:
            await bus.call(api.APP_LIST, api.ListApps(ws="main"))
        assert (caught.value.code, micro.running) == ("unavailable", 1)
        blocked.set()


def test_process_reports_ready_and_stops_on_sigterm(server: NatsServer, tmp_path: Path) -> None:
    """`python -m afield_registry` writes its readiness line, and ends with status 0 on SIGTERM."""
    read, write = os.pipe()
    environment = {
        **os.environ,
        "AFIELD_SERVER": server.url,
        "AFIELD_TOKEN": "",
        "AFIELD_READY_FD": str(write),
        "AFIELD_HOME": str(tmp_path),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "afield_registry"],
        env=environment,
        pass_fds=[write],
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    try:
        with os.fdopen(read) as ready:
            line = json.loads(ready.readline())
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert line == {"ready": "registry", "address": server.url}
    assert process.returncode == 0, log
    assert any(json.loads(each)["msg"] == "service stopped" for each in log.splitlines())


def test_process_explains_bad_settings(server: NatsServer) -> None:
    """A bad variable is named on stderr, with status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "afield_registry"],
        env={**os.environ, "AFIELD_SHARDS": "many"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "AFIELD_SHARDS" in done.stderr


def test_process_tells_what_to_set_without_a_server() -> None:
    """Where nothing answers, the log names the variables once while it tries, and once when it gives up."""
    done = subprocess.run(
        [sys.executable, "-m", "afield_registry", "--server", f"nats://127.0.0.1:{free_port()}"],
        env={k: v for k, v in os.environ.items() if k != "AFIELD_TOKEN"},
        capture_output=True,
        text=True,
    )
    advice = [line for line in done.stderr.splitlines() if "AFIELD_SERVER" in line and "AFIELD_TOKEN" in line]
    assert done.returncode == 1
    assert [json.loads(line)["level"] for line in advice] == ["warning", "error"]
    assert "Traceback" not in done.stderr
