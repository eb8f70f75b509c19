"""The gateway: an HTTP server in front of the platform."""

from typing import TYPE_CHECKING

from afield._bus.errors import BusError
from afield._wire.api import FLEET_STATS, FleetStats, StatsRequest
from afield_common.service import Service
from afield_gateway.server import HttpServer
from afield_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class GatewayService(Service[GatewaySettings]):
    """Serves HTTP on one address. Stateless: run as many as you like."""

    role = "gateway"

    async def start(self) -> None:
        """Listen. The HTTP stack is loaded when the first caller comes."""
        settings = self.settings
        self._http = HttpServer(
            settings.gateway_host, settings.gateway_port, self._make_app, needs=("afield_gateway.app",)
        )
        self.tasks.start_soon(self._http.run)
        await self.serve({}, metadata={"address": self.address})

    @property
    def address(self) -> str:
        """The URL to call."""
        return self._http.url

    async def refuse(self) -> None:
        """Take no more connections."""
        await super().refuse()
        if hasattr(self, "_http"):
            self._http.refuse()

    def running(self) -> list[str]:
        """Name the requests that run."""
        return [*super().running(), *([f"{self._http.running} HTTP requests"] if self._http.running else [])]

    async def drain(self) -> None:
        """Wait for the requests that run."""
        await super().drain()
        await self._http.drained()

    def _make_app(self) -> "ASGIApp":
        from afield_gateway.app import Parts, make_app
        from afield_gateway.backend import PlatformBackend
        from afield_gateway.calls import CallEndpoint
        from afield_gateway.health import probes

        settings = self.settings
        calls = CallEndpoint(
            PlatformBackend(self.bus, settings, self.tasks),
            max_body=settings.gateway_max_body,
            timeout=settings.gateway_call_timeout,
        )
        token = settings.gateway_token.get_secret_value()
        return make_app(
            Parts(self.address, token, calls, probes(self.bus, settings.environment), self._fleet)
        )

    async def _fleet(self) -> FleetStats | None:
        try:
            return await self.bus.call(FLEET_STATS, StatsRequest(ws=self.settings.environment), timeout=2.0)
        except BusError as error:
            self.log.warning("scheduler did not answer", error=str(error))
            return None
