"""What happens to an app, as pure functions from records to records."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Final

from afield._wire.api import CreateApp, ScaleFunction
from afield._wire.functions import AppRecord, FunctionRecord, FunctionSpec, Scaling
from afield_common.errors import RefusedError
from afield_registry.states import AppEvent, next_state

MAX_FUNCTIONS: Final = 1000
"""Functions and classes of one app: each that is called has two consumers on the server."""

MOST_AWAKE: Final = 64
"""Functions of an app that get their consumers at once, so that their first call need not wait for that (3 ms). Each message
of a stream costs the server some time for each of the stream's consumers: with 2,000 a call takes twice as long."""


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


def with_functions(app: AppRecord, specs: Iterable[FunctionSpec], new_id: Callable[[str], str]) -> AppRecord:
    """Return the app with an id for every function and class; a name that has one keeps it.

    `new_id` makes an id of a kind, `fu` or `cs`. Raises RefusedError when the app is stopped, or would have too many.
    """
    state = next_state(app.state, "publish")
    functions = dict(app.functions)
    for spec in specs:
        if spec.name not in functions:
            functions[spec.name] = new_id("cs" if spec.is_class else "fu")
    if len(functions) > MAX_FUNCTIONS:
        raise RefusedError(
            "exhausted", f"an app has at most {MAX_FUNCTIONS} functions, this one would have {len(functions)}"
        )
    return replace(app, state=state, functions=functions)


def function_record(
    app: AppRecord,
    spec: FunctionSpec,
    shards: int,
    known: Mapping[str, FunctionRecord],
    place: int = 0,
) -> FunctionRecord:
    """Return the record of a function that the app has an id for.

    `known` holds the present records by function id: one that is there is `renewed`, and keeps its shard (its inputs
    wait there). `place`: how many functions the app has before it.
    """
    function_id = app.functions[spec.name]
    old = known.get(function_id)
    if old is not None:
        return renewed(old, spec)
    return FunctionRecord(
        function_id=function_id,
        app_id=app.app_id,
        app_name=app.name,
        ws=app.ws,
        shard=shard_of(function_id, shards),
        spec=spec,
        asleep=place >= MOST_AWAKE and not spec.scaling.min_containers,
    )


def renewed(old: FunctionRecord, spec: FunctionSpec) -> FunctionRecord:
    """Return a function with this spec: the next version, unless its containers may stay.

    They may when nothing changed, or nothing but how many of them there are to be.
    """
    same = replace(spec, scaling=old.spec.scaling) == old.spec
    return replace(old, spec=spec, version=old.version if same else old.version + 1)


def scaled(old: FunctionRecord, request: ScaleFunction) -> FunctionRecord:
    """Return a function with what a request asks for; None leaves a setting as it is. Its version stays."""
    asked = {f.name: value for f in fields(Scaling) if (value := getattr(request, f.name)) is not None}
    return replace(old, spec=replace(old.spec, scaling=replace(old.spec.scaling, **asked)))


def shard_of(function_id: str, shards: int) -> int:
    """Return the input stream for a new function; from then on it is kept in the function's record."""
    return zlib.crc32(function_id.encode()) % shards


def stopped(app: AppRecord, event: AppEvent, reason: str, now: float) -> AppRecord:
    """Return the app after `stop` or `lapse`. Raises RefusedError when it cannot be."""
    state = next_state(app.state, event)
    return replace(app, state=state, stopped_at=now, stop_reason=reason)
