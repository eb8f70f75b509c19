"""What a request must hold before it changes anything. Every complaint is RefusedError `invalid`, for the caller."""

import re
from collections.abc import Sequence
from typing import Final

from afield._wire.api import BindFunction, CreateApp, PublishFunctions
from afield._wire.functions import FunctionSpec, Options, Resources, RetryPolicy, Scaling
from afield._wire.ids import is_app_id, is_object_name, is_token
from afield._wire.streams import INLINE_LIMIT
from afield.exception import InvalidError
from afield_common import devices
from afield_common.errors import RefusedError
from afield_registry.apps import MAX_FUNCTIONS
from afield_registry.states import INITIAL

DAY: Final = 86_400.0
MAX_CONCURRENCY: Final = 1000
MAX_BATCH: Final = 1000
MAX_BATCH_WAIT_MS: Final = 600_000
PARAMETER_KINDS: Final = ("", "str", "int", "bool", "bytes")

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
    _require(
        not request.app_id or is_app_id(request.app_id),
        f"expected an id like 'ap-k3j9x2abcdefghij' for the new app, got {request.app_id!r}",
    )
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
    _check_unique("function", [spec.name for spec in request.functions])
    for spec in request.functions:
        check_function(spec)


def check_bind(request: BindFunction, spec: FunctionSpec) -> None:
    """Check what a variant of a function (or class) is to be made with, save for what comes of it (check_function)."""
    of = f"function {spec.name!r}"
    _require(
        not request.params or spec.is_class, f"{of} is no class, so it is not made with constructor arguments"
    )
    _require(
        len(request.params) <= INLINE_LIMIT,
        f"{of}: expected constructor arguments of up to {INLINE_LIMIT:,} bytes, got {len(request.params):,}; "
        f"hand larger values to a method",
    )
    options = request.options or Options()
    for reserved, limit in (("cpu", "cpu_limit"), ("memory_mib", "memory_limit_mib")):
        _require(
            getattr(options, limit) is None or getattr(options, reserved) is not None,
            f"{of}: {limit} is said together with {reserved}, got it alone",
        )


def check_scaling(name: str, scaling: Scaling) -> None:
    """Check how many containers a function may have."""
    _check_scaling(f"function {name!r}", scaling)


def _check_unique(what: str, names: Sequence[str]) -> None:
    for name in names:
        _require(names.count(name) == 1, f"expected one {what} named {name!r}, got {names.count(name)}")


def check_function(spec: FunctionSpec) -> None:
    """Check one function or class: its name, its code, its limits."""
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
    _check_concurrency(of, spec)
    _check_class(of, spec)
    for label, values in spec.labels.items():
        _require(
            bool(label) and bool(values),
            f"{of}: expected a label and values that it may have, got {label!r}: {values!r}",
        )


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

    for each in asked.gpu:
        try:
            devices.parse(each)
        except InvalidError as error:
            raise RefusedError("invalid", f"{of}: {error}") from None


def _check_concurrency(of: str, spec: FunctionSpec) -> None:
    most, target = spec.concurrency.max_inputs, spec.concurrency.target_inputs
    _require(1 <= most <= MAX_CONCURRENCY, f"{of}: expected max_inputs of 1 to {MAX_CONCURRENCY}, got {most}")
    _require(0 <= target <= most, f"{of}: expected target_inputs of up to max_inputs ({most}), got {target}")
    batching = spec.batching
    if batching is None:
        return
    _require(
        1 <= batching.max_batch_size <= MAX_BATCH,
        f"{of}: expected max_batch_size of 1 to {MAX_BATCH}, got {batching.max_batch_size}",
    )
    _require(
        0 <= batching.wait_ms <= MAX_BATCH_WAIT_MS,
        f"{of}: expected wait_ms of 0 to {MAX_BATCH_WAIT_MS}, got {batching.wait_ms}",
    )
    _require(not spec.may_yield, f"{of}: a generator cannot take its inputs in batches")
    _require(
        len(spec.methods) <= 1,
        f"{of}: a class that takes its inputs in batches has one method, this one has {len(spec.methods)}",
    )


def _check_class(of: str, spec: FunctionSpec) -> None:
    for name in spec.methods:
        _require(name.isidentifier(), f"{of}: {name!r} cannot name a method")
    _require(
        spec.is_class or not spec.parameters,
        f"{of} has no methods, so it is no class and takes no parameters",
    )
    _check_unique(f"parameter of {of}", [parameter.name for parameter in spec.parameters])
    for parameter in spec.parameters:
        _require(
            parameter.kind in PARAMETER_KINDS,
            f"{of}: expected the parameter {parameter.name!r} to be one of "
            f"{', '.join(PARAMETER_KINDS[1:])}, got {parameter.kind!r}",
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
