"""What happens to an app, as pure functions from records to records."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from afield._wire.api import CreateApp
from afield._wire.functions import AppRecord, FunctionRecord, FunctionSpec
from afield_registry.states import AppEvent, next_state


def created(request: CreateApp, app_id: str, now: float) -> AppRecord:
    """Return the record of a new app. `now` is Unix time."""
    return AppRecord(
        app_id=app_id,
        name=request.name,
        description=request.description or request.name,
        ws=request.ws,
        state=request.state,
        session=request.session,
        created_at=now,
        tags=dict(request.tags),
    )


def with_functions(app: AppRecord, names: tuple[str, ...], new_id: Callable[[], str]) -> AppRecord:
    """Return the app with an id for every name; a name that has one keeps it.

    Raises RefusedError when the app is stopped.
    """
    state = next_state(app.state, "publish")
    functions = dict(app.functions)
    for name in names:
        if name not in functions:
            functions[name] = new_id()
    return replace(app, state=state, functions=functions)


def function_record(
    app: AppRecord, spec: FunctionSpec, shards: int, known: Mapping[str, FunctionRecord]
) -> FunctionRecord:
    """Return the record of a function that the app has an id for.

    `known` holds the present records by function id: an equal one is returned as it is, a changed one gets the next
    version and keeps its shard (its inputs wait there).
    """
    function_id = app.functions[spec.name]
    old = known.get(function_id)
    if old is not None:
        return old if old.spec == spec else replace(old, spec=spec, version=old.version + 1)
    return FunctionRecord(
        function_id=function_id,
        app_id=app.app_id,
        app_name=app.name,
        ws=app.ws,
        shard=shard_of(function_id, shards),
        spec=spec,
    )


def shard_of(function_id: str, shards: int) -> int:
    """Return the input stream for a new function; from then on it is kept in the function's record."""
    return zlib.crc32(function_id.encode()) % shards


def stopped(app: AppRecord, event: AppEvent, reason: str, now: float) -> AppRecord:
    """Return the app after `stop` or `lapse`. Raises RefusedError when it cannot be."""
    state = next_state(app.state, event)
    return replace(app, state=state, stopped_at=now, stop_reason=reason)
