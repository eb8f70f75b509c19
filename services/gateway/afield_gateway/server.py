"""An HTTP server on one socket: bound at once, loaded when the first caller comes.

The HTTP stack costs 0.2 s and 15 MB to import. Most platforms that one `afield run` starts never see a request, so
the socket only listens until somebody knocks; the kernel keeps the knocking connection meanwhile.
"""

import importlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Server

BACKLOG: Final = 512


class HttpServer:
    """Serves the ASGI application that `make_app` returns, once somebody connects."""

    def __init__(
        self, host: str, port: int, make_app: Callable[[], "ASGIApp"], *, needs: tuple[str, ...] = ()
    ) -> None:
        """Bind and listen. `needs` are modules that `make_app` imports, loaded off the event loop.

        Raises OSError, naming the address, when it is taken or not ours.
        """
        self._make_app = make_app
        self._needs = needs
        self._socket = _listen(host, port)
        self._server: Server | None = None
        bound_host, bound_port = self._socket.getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        self.url: Final = f"http://{shown}:{bound_port}"

    async def run(self) -> None:
        """Wait for the first connection, then serve until cancelled."""
        await anyio.wait_readable(self._socket)
        for name in ("uvicorn", *self._needs):
            await anyio.to_thread.run_sync(importlib.import_module, name)
        self._server = await _start(self._make_app(), self._socket)
        # uvicorn's own main loop would wake ten times a second to look at a flag; events reach us by cancellation.
        await anyio.sleep_forever()

    def refuse(self) -> None:
        """Take no more connections. Requests that run go on."""
        if self._server is not None:
            for each in self._server.servers:
                each.close()
        self._socket.close()

    @property
    def running(self) -> int:
        """Requests that run now."""
        return len(self._server.server_state.tasks) if self._server is not None else 0

    async def drained(self) -> None:
        """Close idle connections and wait until no request runs."""
        if self._server is not None:
            await self._server.shutdown()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


async def _start(app: "ASGIApp", sock: socket.socket) -> "Server":
    from uvicorn import Config, Server

    config = Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # kept current by the main loop that we do not run; the application sets it
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[sock])
    return server
