"""The HTTP server: bound at once, loaded late, stopped in order."""

import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from afield_gateway.server import HttpServer

pytestmark = pytest.mark.anyio


async def test_the_application_is_made_when_somebody_knocks(make: Callable[[], Any]) -> None:
    """Until the first connection nothing is loaded; that connection is then served."""
    made = []

    def make_app() -> Any:
        made.append(1)
        return make()

    server = HttpServer("127.0.0.1", 0, make_app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await anyio.wait_all_tasks_blocked()
        assert made == []
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/healthz")).status_code == 200
        assert made == [1]
        server.refuse()
        await server.drained()
        tasks.cancel_scope.cancel()


def test_a_taken_port_is_told() -> None:
    """The error names the address, so that one knows what to change."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}"):
            HttpServer("127.0.0.1", port, lambda: None)  # type: ignore[arg-type,return-value]


async def test_a_caller_that_leaves_ends_its_call(make: Callable[[], Any], backend: Any) -> None:
    """Closing the connection cancels the call behind it."""
    began, ended = anyio.Event(), anyio.Event()

    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    backend.answer = endless
    server = HttpServer("127.0.0.1", 0, make)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        host, port = server.url.removeprefix("http://").split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            request = (
                b"POST /v1/apps/shop/functions/f/call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n"
            )
            await stream.send(request + b"Content-Length: 0\r\n\r\n")
            await began.wait()
        with anyio.fail_after(5):
            await ended.wait()
        server.refuse()
        await server.drained()
        tasks.cancel_scope.cancel()


async def test_a_running_request_is_waited_for(make: Callable[[], Any], backend: Any) -> None:
    """After `refuse`, what runs is finished and answered, and new connections are not taken."""
    began, go_on = anyio.Event(), anyio.Event()
    answers: list[httpx.Response] = []

    async def slow() -> str:
        began.set()
        await go_on.wait()
        return "done"

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(headers={"Authorization": "Bearer s3cret"}) as client:
            answers.append(await client.post(f"{url}/v1/apps/shop/functions/f/call"))

    backend.answer = slow
    server = HttpServer("127.0.0.1", 0, make)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        tasks.start_soon(ask, server.url)
        await began.wait()
        assert server.running == 1
        server.refuse()
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{server.url}/healthz")
        go_on.set()
        await server.drained()
        tasks.cancel_scope.cancel()

    assert answers[0].json() == {"result": "done"}


def test_the_service_module_does_not_load_the_http_stack() -> None:
    """A platform that nobody calls over HTTP does not pay for it."""
    import subprocess

    code = "import sys, afield_gateway.service; print('starlette' in sys.modules, 'uvicorn' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.split() == ["False", "False"]
