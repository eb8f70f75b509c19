"""What `.with_options(...)`, `.with_concurrency(...)` and `.with_batching(...)` ask for, in the form of the wire."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from afield import _checked
from afield._wire.functions import Batching, Concurrency, Options
from afield.exception import UnimplementedError
from afield.resources import parse_resources
from afield.retries import Retries, retry_policy

_LIMITS: Final = {"cpu": "cpu_limit", "memory_mib": "memory_limit_mib"}
"""What is reserved, and the limit that is said along with it."""


def parse_options(
    *,
    cpu: float | tuple[float, float] | None = None,
    memory: int | tuple[int, int] | None = None,
    gpu: Any = None,
    env: Mapping[str, str | None] | None = None,
    secrets: Any = None,
    volumes: Any = None,
    retries: int | Retries | None = None,
    timeout: float | None = None,
    **others: Any,
) -> Options:
    """Return the options for the arguments of `.with_options(...)`; None means as before.

    `others`: the settings of scaling, `region`, `cloud`, `routing_region`. Raises InvalidError for values that make no
    sense, UnimplementedError for secrets and volumes.
    """
    for name, value in (("secrets", secrets), ("volumes", volumes)):
        if value:
            raise UnimplementedError(f"the parameter `{name}` of .with_options() is not available yet")
    resources = parse_resources(cpu=cpu, memory=memory, gpu=gpu)
    return Options(
        cpu=None if cpu is None else resources.cpu,
        cpu_limit=resources.cpu_limit,
        memory_mib=None if memory is None else resources.memory_mib,
        memory_limit_mib=resources.memory_limit_mib,
        gpu=resources.gpu or None,
        env=_checked.environment(env) or None,
        retries=None if retries is None else retry_policy(retries),
        timeout=None if timeout is None else _checked.seconds("timeout", timeout),
        labels=_checked.labels(others) or None,
        **_checked.scaling(others),
    )


def concurrency_options(max_inputs: int, target_inputs: int | None) -> Options:
    """Return the options of `.with_concurrency(...)`. Raises InvalidError for bad numbers."""
    concurrency: Concurrency = _checked.concurrency(max_inputs, target_inputs)
    return Options(concurrency=concurrency)


def batching_options(max_batch_size: int, wait_ms: int) -> Options:
    """Return the options of `.with_batching(...)`. Raises InvalidError for bad numbers."""
    batching: Batching = _checked.batching(max_batch_size, wait_ms)
    return Options(batching=batching)


def merged(old: Options | None, new: Options) -> Options:
    """Return `old` with what `new` asks for. Variables and labels are added to those of `old`."""
    if old is None:
        return new
    given = {each.name: getattr(new, each.name) for each in fields(Options)}
    given = {name: value for name, value in given.items() if value is not None}
    for reserved, limit in _LIMITS.items():
        if reserved in given:  # who says what is reserved has said all of that resource
            given.setdefault(limit, None)
    for name in ("env", "labels"):
        if name in given:
            given[name] = {**(getattr(old, name) or {}), **given[name]}
    return replace(old, **given)
