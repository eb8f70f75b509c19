"""`App.lookup`: find an app that runs, by its name."""

from typing import TYPE_CHECKING

from afield import config
from afield._portal import get_portal
from afield._sync import warn_if_in_loop
from afield._trim import trimmed, trimmed_async
from afield._uplink import default_uplink_async
from afield._wire.api import APP_GET, AppRef
from afield.exception import UnimplementedError

if TYPE_CHECKING:
    from afield.app import App


class Lookup:
    """`App.lookup`: find an app that runs, by its name."""

    @trimmed
    def __call__(
        self,
        name: str,
        *,
        client: object | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> "App":
        """Return a running app. Raises NotFoundError when none has the name."""
        warn_if_in_loop("App.lookup()", "await App.lookup.aio()")
        return get_portal().run(_lookup, name, client, environment_name, create_if_missing)

    @trimmed_async
    async def aio(
        self,
        name: str,
        *,
        client: object | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> "App":
        """Return a running app. Raises NotFoundError when none has the name."""
        return await get_portal().bridge(_lookup, name, client, environment_name, create_if_missing)


async def _lookup(name: str, client: object | None, environment_name: str | None, create: bool) -> "App":
    if client is not None:
        raise UnimplementedError("the parameter `client` of App.lookup is not available yet")
    if create:
        raise UnimplementedError("the parameter `create_if_missing` of App.lookup is not available yet")
    from afield.app import App

    app = App(name)
    uplink = await default_uplink_async(config.environment(environment_name))
    here = await uplink.client()
    record = await here.request(APP_GET, AppRef(ws=uplink.ws, name=name))
    app._app_id = record.app_id
    app._description = record.description
    app._tags = dict(record.tags)
    return app
