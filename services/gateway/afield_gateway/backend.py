"""The platform behind the HTTP endpoints: functions by name, and their calls, through the client that users have."""

import difflib
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from afield import exception
from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure, BusError
from afield._platform import Client
from afield._wire.api import APP_LIST, FUNCTION_GET, FunctionRef, ListApps
from afield._wire.functions import AppRecord, FunctionRecord
from afield._wire.ids import is_object_name
from afield.embedded import PlatformAddress
from afield.serialization import dumps_call
from afield_common.settings import Settings
from afield_gateway.calls import Outcome
from afield_gateway.problems import Problem

_TIMEOUT: Final = 10.0
"""Seconds that the registry has to answer."""

_MAX_SHOWN: Final = 10
"""Names in a list of suggestions."""

_STATUS: Final[dict[type[BaseException], tuple[int, str]]] = {
    exception.RequestSizeError: (413, "too-large"),
    exception.ResourceExhaustedError: (503, "exhausted"),
    exception.ConnectionError: (503, "unavailable"),
    exception.ClientClosed: (503, "unavailable"),
    exception.ServiceError: (503, "unavailable"),
}


class PlatformBackend:
    """See the module. The connection for calls is opened at the first call, in `tasks`, and kept."""

    def __init__(self, bus: Bus, settings: Settings, tasks: TaskGroup) -> None:
        self._bus = bus
        self._ws = settings.environment
        self._address = _address(settings)
        self._tasks = tasks
        self._client: Client | None = None
        self._opening = anyio.Lock()

    # -- functions --------------------------------------------------------------------------------

    async def resolve(self, app: str, function: str) -> FunctionRecord:
        """Return the record of a function. Raises Problem: 404 for unknown names, 503 without a registry."""
        try:
            return await self._look_up(app, function)
        except ApiFailure as failure:
            if failure.code != "not_found":
                raise _refused(failure) from failure
            raise await self._unknown(app, function) from failure
        except BusError as error:
            raise _unavailable(error) from error

    async def _look_up(self, app: str, function: str) -> FunctionRecord:
        if function.startswith("fu-"):
            return await self._by_id(app, function)
        by_id = {"app_id": app} if _is_app_id(app) else {"app_name": app}
        return await self._bus.call(
            FUNCTION_GET, FunctionRef(ws=self._ws, name=function, **by_id), timeout=_TIMEOUT
        )

    async def _by_id(self, app: str, function_id: str) -> FunctionRecord:
        ref = FunctionRef(ws=self._ws, function_id=function_id)
        record = await self._bus.call(FUNCTION_GET, ref, timeout=_TIMEOUT)
        if app not in (record.app_id, record.app_name):
            raise ApiFailure("not_found", f"function {function_id} is not of app {app}")
        return record

    async def _unknown(self, app: str, function: str) -> Problem:
        """Say which name is unknown, and which ones there are."""
        try:
            listed = await self._bus.call(APP_LIST, ListApps(ws=self._ws), timeout=_TIMEOUT)
        except BusError as error:
            return _unavailable(error)
        found = next((each for each in listed.apps if app in (each.app_id, each.name)), None)
        if found is not None:
            return _unknown_function(found, function)
        return _unknown_app(app, [each.name or each.app_id for each in listed.apps])

    # -- calls ------------------------------------------------------------------------------------

    async def call(self, record: FunctionRecord, args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        """Call a function and wait for its end; a cancellation cancels the call."""
        try:
            client = await self._connected()
            call_id = client.next_call_id(record.shard)
            ended = await client.call(record, dumps_call(tuple(args), kwargs), call_id=call_id)
        except exception.Error as error:
            status, kind = _STATUS.get(type(error), (500, "platform-error"))
            raise Problem(status, kind, "The platform failed", str(error)) from error
        return Outcome(call_id, ended.value, ended.error)

    async def _connected(self) -> Client:
        async with self._opening:
            if self._client is None:
                opened = await self._tasks.start(self._keep_client)
                if isinstance(opened, exception.Error):
                    raise opened
                self._client = opened
            return self._client

    async def _keep_client(self, *, task_status: TaskStatus[Client | exception.Error]) -> None:
        """Own the client: a task of its own, as it has a task group that outlives the request that opened it."""
        try:
            async with Client.open(self._address, self._ws) as client:
                task_status.started(client)
                await anyio.sleep_forever()
        except exception.Error as error:
            # The request that needed the connection is told; the next one tries again.
            task_status.started(error)


def _address(settings: Settings) -> PlatformAddress:
    # The blob folder has a default, which workers on other hosts do not share: it counts only when it was configured.
    shared = "blob_dir" in settings.model_fields_set
    return PlatformAddress(
        settings.server,
        settings.token.get_secret_value(),
        "",
        str(settings.blob_dir) if shared else "",
        settings.host if shared else "",
        private=False,
    )


def _is_app_id(text: str) -> bool:
    return text.startswith("ap-") and not is_object_name(text)


def _refused(failure: ApiFailure) -> Problem:
    status = {"invalid": 404, "denied": 403, "exhausted": 503, "unavailable": 503}.get(failure.code, 500)
    return Problem(status, f"registry-{failure.code}", "The registry refused", failure.message)


def _unavailable(error: BusError) -> Problem:
    return Problem(
        503, "unavailable", "The platform does not answer", str(error), headers={"Retry-After": "1"}
    )


def _unknown_app(app: str, running: list[str]) -> Problem:
    names = list(dict.fromkeys(running))
    detail = f"expected the name or id of a running app, got {app!r}; {_there_are('running', names)}"
    return Problem(404, "unknown-app", "There is no such running app", detail, suggestions=_alike(app, names))


def _unknown_function(app: AppRecord, function: str) -> Problem:
    names = sorted(app.functions)
    detail = f"app {app.name or app.app_id!r} has no function {function!r}; {_there_are('in it', names)}"
    return Problem(
        404, "unknown-function", "The app has no such function", detail, suggestions=_alike(function, names)
    )


def _there_are(where: str, names: list[str]) -> str:
    if not names:
        return f"nothing is {where}"
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"{where}: {', '.join(names[:_MAX_SHOWN])}{more}"


def _alike(name: str, names: list[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=3) or names[:_MAX_SHOWN]
