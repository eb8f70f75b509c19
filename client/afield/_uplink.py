"""This process's ways to platforms, and which connection a call uses.

An Uplink is one hold on one platform, with a client for each event loop that needs one:

- `async with app.run()` opens a client on the running loop.
- Blocking calls use a client on the portal's loop, opened at first use.
- `.aio` calls on a loop that has no client are bridged to the portal's.

`app.run()` has an uplink of its own. What is looked up by name or id, and everything inside a container, uses the
default uplink of the process: the platform that `afield.embedded.acquire` finds, held until the process ends.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from afield import config, embedded
from afield._platform import Client
from afield._portal import get_portal
from afield.embedded import PlatformAddress
from afield.exception import ClientClosed


class Uplink:
    """See the module. `ws` is the environment that its clients work in."""

    def __init__(self, hold: embedded.Platform, ws: str) -> None:
        self.ws = ws
        self.closed = False
        self.portal_client: Client | None = None
        """The client on the portal's loop, once there is one."""
        self._hold = hold
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}
        self._ready: asyncio.Future[Client] | None = None
        """Ends when the client on the portal's loop is open, or cannot be opened; None when nobody asked for it."""
        self._scope: anyio.CancelScope | None = None
        self._stop: asyncio.Event | None = None
        self._stopped: asyncio.Event | None = None

    @property
    def address(self) -> PlatformAddress:
        """How to reach the platform."""
        return self._hold.address

    def is_here(self) -> bool:
        """Tell whether the running loop has a client of this uplink."""
        return asyncio.get_running_loop() in self._clients

    async def client(self) -> Client:
        """Return the running loop's client; the portal's loop gets one at first use.

        Raises ClientClosed when the uplink was closed.
        """
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is not None:
            return client
        if self.closed:
            raise ClientClosed("the app's run has ended, and the connection to its platform with it")
        assert loop is get_portal().loop, "a call on another loop is bridged to the portal's"
        if self._ready is None:
            ready = self._ready = loop.create_future()
            self._stop, self._stopped = asyncio.Event(), asyncio.Event()
            get_portal().keep(lambda: self._keep(ready))
        # Others may wait for it, too, so it goes on when this one is interrupted.
        return await asyncio.shield(self._ready)

    async def _keep(self, ready: "asyncio.Future[Client]") -> None:
        """Own the portal's client: a task of its own, because it has a task group."""
        assert self._stop is not None
        assert self._stopped is not None
        try:
            with anyio.CancelScope() as self._scope:
                async with self.open_here() as client:
                    self.portal_client = client
                    ready.set_result(client)
                    await self._stop.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
            ready.exception()  # whoever waited may have been interrupted meanwhile
        finally:
            self.portal_client = self._ready = None
            if not ready.done():
                ready.set_exception(ClientClosed("the app's run ended before its platform was reached"))
                ready.exception()
            self._stopped.set()

    @asynccontextmanager
    async def open_here(self) -> AsyncIterator[Client]:
        """Open a client on the running loop, for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        async with Client.open(self.address, self.ws) as client:
            previous = self._clients.get(loop)
            self._clients[loop] = client
            try:
                yield client
            finally:
                if previous is None:
                    del self._clients[loop]
                else:
                    self._clients[loop] = previous

    def fail_calls(self, error: Exception) -> None:
        """End all calls that wait, on every loop. From any loop of the uplink's."""
        for loop, client in list(self._clients.items()):
            loop.call_soon_threadsafe(client.inbox.fail_all, error)

    async def close_portal_client(self) -> None:
        """Close the client on the portal's loop, if there is one. To be awaited on that loop."""
        self.closed = True
        if self._stop is not None and self._stopped is not None:
            self._stop.set()
            if self.portal_client is None and self._scope is not None:
                self._scope.cancel()  # it is still being opened
            await self._stopped.wait()

    def release(self) -> None:
        """Let go of the platform. Blocking."""
        self.closed = True
        self._hold.release()


_Place = tuple[str, config.Server | None, Path]
"""What decides which platform is meant: environment, configured server, state folder. A program may change each."""

_lock = threading.Lock()
_default: dict[_Place, Uplink] = {}


def _place(ws: str | None) -> _Place:
    return config.environment(ws), config.server(), config.state_dir()


def known_default(ws: str | None) -> Uplink | None:
    """Return the default uplink for an environment (the configured one, if None) if there is one already."""
    return _default.get(_place(ws))


def default_uplink(ws: str | None = None) -> Uplink:
    """Return the default uplink for an environment (the configured one, if None), making it at first use. Blocking."""
    place = _place(ws)
    known = _default.get(place)
    if known is not None:
        return known
    with _lock:
        if place not in _default:
            _default[place] = Uplink(embedded.acquire(), place[0])
            get_portal().on_close(lambda: _close_default(place))
        return _default[place]


async def default_uplink_async(ws: str | None = None) -> Uplink:
    """As `default_uplink`, without blocking the running loop."""
    known = known_default(ws)
    return known if known is not None else await anyio.to_thread.run_sync(default_uplink, ws)


async def _close_default(place: _Place) -> None:
    uplink = _default.pop(place, None)
    if uplink is not None:
        await uplink.close_portal_client()
        await anyio.to_thread.run_sync(uplink.release)


def _after_fork() -> None:
    """A child shares no socket with its parent: it makes uplinks of its own."""
    global _lock
    _lock = threading.Lock()
    _default.clear()


os.register_at_fork(after_in_child=_after_fork)
