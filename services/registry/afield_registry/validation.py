"""What a request must hold before it changes anything. Every complaint is RefusedError `invalid`, for the caller."""

import re
from collections.abc import Sequence
from typing import Final

from afield._wire.api import CreateApp, PublishFunctions
from afield._wire.functions import FunctionSpec, Resources, RetryPolicy, Scaling
from afield._wire.ids import is_object_name, is_token
from afield_common.errors import RefusedError
from afield_registry.states import INITIAL

DAY: Final = 86_400.0
MAX_FUNCTIONS: Final = 1000
"""Functions of one app: each has two consumers on the server."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_VARIABLE = re.compile(r"[^=\0]+\Z")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise RefusedError("invalid", complaint)


def check_ws(ws: str) -> None:
    """An environment's name stands as a token in subjects."""
    _require(is_token(ws), f"expected an environment named with letters, digits, '-' and '_', got {ws!r}")


def check_app(request: CreateApp) -> None:
    """Check the request for a new app."""
    check_ws(request.ws)
    _require(not request.name or is_object_name(request.name), _bad_name("an app", request.name))
    _require(bool(request.session), "expected the session of the client that starts the app, got none")
    _require(
        request.state in INITIAL,
        f"an app starts as one of {', '.join(INITIAL)}, not as {request.state!r}",
    )


def check_functions(request: PublishFunctions) -> None:
    """Check the functions that are to be published."""
    check_ws(request.ws)
    _require(
        len(request.functions) <= MAX_FUNCTIONS,
        f"an app has at most {MAX_FUNCTIONS} functions, got {len(request.functions)}",
    )
    _check_unique([spec.name for spec in request.functions])
    for spec in request.functions:
        check_function(spec)


def _check_unique(names: Sequence[str]) -> None:
    for name in names:
        _require(names.count(name) == 1, f"expected one function named {name!r}, got {names.count(name)}")


def check_function(spec: FunctionSpec) -> None:
    """Check one function: its name, its code, its limits."""
    _require(is_object_name(spec.name), _bad_name("a function", spec.name))
    _check_code(spec)
    of = f"function {spec.name!r}"
    _require(0 < spec.timeout <= DAY, f"{of}: expected a timeout of 1 to {DAY:g} s, got {spec.timeout:g}")
    _require(
        0 < spec.startup_timeout <= DAY,
        f"{of}: expected a startup timeout of 1 to {DAY:g} s, got {spec.startup_timeout:g}",
    )
    for name in spec.env:
        _require(bool(_VARIABLE.match(name)), f"{of}: {name!r} cannot name an environment variable")
    _check_resources(of, spec.resources)
    _check_scaling(of, spec.scaling)
    _check_retries(of, spec.retries)


def _check_code(spec: FunctionSpec) -> None:
    of, code = f"function {spec.name!r}", spec.code
    _require(
        bool(code.serialized) or bool(code.module and code.qualname),
        f"{of}: expected a module and a qualified name, or a serialised function; got neither",
    )
    for label, digest in (("bundle", code.bundle), ("serialized", code.serialized)):
        _require(
            not digest or bool(_DIGEST.match(digest)),
            f"{of}: expected a SHA-256 in hexadecimal as {label}, got {digest!r}",
        )


def _check_resources(of: str, asked: Resources) -> None:
    _require(asked.cpu >= 0, f"{of}: expected cpu of 0 or more cores, got {asked.cpu:g}")
    _require(asked.memory_mib >= 0, f"{of}: expected memory of 0 MiB or more, got {asked.memory_mib}")
    if asked.cpu_limit is not None:
        _require(
            asked.cpu_limit > 0 and asked.cpu_limit >= asked.cpu,
            f"{of}: the cpu limit ({asked.cpu_limit:g}) must not be below the request ({asked.cpu:g})",
        )
    if asked.memory_limit_mib is not None:
        _require(
            asked.memory_limit_mib > 0 and asked.memory_limit_mib >= asked.memory_mib,
            f"{of}: the memory limit ({asked.memory_limit_mib} MiB) must not be below the request "
            f"({asked.memory_mib} MiB)",
        )


def _check_scaling(of: str, scaling: Scaling) -> None:
    _require(scaling.min_containers >= 0, f"{of}: expected min_containers >= 0, got {scaling.min_containers}")
    _require(
        scaling.buffer_containers >= 0,
        f"{of}: expected buffer_containers >= 0, got {scaling.buffer_containers}",
    )
    if scaling.max_containers is not None:
        _require(
            scaling.max_containers >= max(1, scaling.min_containers),
            f"{of}: max_containers ({scaling.max_containers}) must be at least 1 and at least min_containers "
            f"({scaling.min_containers})",
        )
    _require(
        0 <= scaling.scaledown_window <= DAY,
        f"{of}: expected a scaledown window of 0 to {DAY:g} s, got {scaling.scaledown_window:g}",
    )


def _check_retries(of: str, retries: RetryPolicy) -> None:
    _require(
        0 <= retries.max_retries <= 10_000, f"{of}: expected max_retries >= 0, got {retries.max_retries}"
    )
    _require(
        retries.initial_delay >= 0 and retries.max_delay >= 0 and retries.backoff_coefficient >= 0,
        f"{of}: expected retry delays and back-off of 0 or more, got {retries}",
    )


def _bad_name(what: str, name: str) -> str:
    return f"{what} is named with 1 to 64 letters, digits, '-', '_' and '.', and not like an app id; got {name!r}"
