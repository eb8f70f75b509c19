"""Values that users give for settings of functions and classes: checked, in the form of the wire.

Each function raises InvalidError, which names the setting, says what was expected and what came.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from afield._wire.functions import Batching, Concurrency, Scaling
from afield.exception import InvalidError

LONGEST_TIMEOUT: Final = 86_400
SCALEDOWN_RANGE: Final = (2, 3600)
MOST_CONCURRENT: Final = 1000
MOST_BATCHED: Final = 1000
LONGEST_WAIT_MS: Final = 600_000

FLAGS: Final = ("serialized", "single_use_containers", "enable_memory_snapshot", "nonpreemptible")
DECIDED_UNLESS_GIVEN: Final = ("include_source", "is_generator")
"""Switches that may be None, too."""

RENAMED: Final = {
    "container_idle_timeout": "scaledown_window=...",
    "keep_warm": "min_containers=...",
    "concurrency_limit": "max_containers=...",
    "allow_concurrent_inputs": "@afield.concurrent(max_inputs=...)",
}
"""Parameters of old, and what to say now."""


def is_number(value: object) -> bool:
    """Tell whether it is an int or a float; bool is neither here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def flag(what: str, value: Any) -> bool:
    """Return True or False, which nothing else stands for: `"no"` would be true."""
    if not isinstance(value, bool):
        raise InvalidError(f"expected {what} to be True or False, got {value!r}")
    return value


def flags(parameters: Mapping[str, Any]) -> None:
    """Check the settings that are switches."""
    for name in FLAGS:
        if name in parameters:
            flag(name, parameters[name])
    for name in DECIDED_UNLESS_GIVEN:
        if parameters.get(name) is not None:
            flag(name, parameters[name])


def seconds(what: str, value: Any) -> float:
    """Return a time limit: 1 second to a day."""
    if not is_number(value) or not 1 <= value <= LONGEST_TIMEOUT:
        raise InvalidError(f"expected {what} to be 1 to {LONGEST_TIMEOUT:,} seconds, got {value!r}")
    return float(value)


def count(what: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number in a range."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < least
        or (most is not None and value > most)
    ):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise InvalidError(f"expected {what} to be a whole number {wanted}, got {value!r}")
    return value


def scaledown_window(value: Any) -> float:
    """Return the seconds that an idle container stays."""
    low, high = SCALEDOWN_RANGE
    if not is_number(value) or not low <= value <= high:
        raise InvalidError(f"expected scaledown_window to be {low} to {high} seconds, got {value!r}")
    return float(value)


def scaling(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the fields of Scaling that are given (not None), checked."""
    checks = {
        "min_containers": lambda value: count("min_containers", value, 0),
        "max_containers": lambda value: count("max_containers", value, 1),
        "buffer_containers": lambda value: count("buffer_containers", value, 0),
        "scaledown_window": scaledown_window,
    }
    given = {
        name: check(parameters[name]) for name, check in checks.items() if parameters.get(name) is not None
    }
    least, most = given.get("min_containers"), given.get("max_containers")
    if least is not None and most is not None and least > most:
        raise InvalidError(f"min_containers ({least}) is above max_containers ({most})")
    return given


def full_scaling(parameters: Mapping[str, Any]) -> Scaling:
    """Return the scaling of a function, with defaults for what is not given."""
    return Scaling(**scaling(parameters))


def environment(env: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return environment variables; those that are None are left out."""
    if env is not None and not isinstance(env, Mapping):
        raise InvalidError(f"expected env to be a dict of strings, got {env!r}")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise InvalidError(f"expected the name of an environment variable, got {name!r}")
        if value is not None and (not isinstance(value, str) or "\0" in value):
            raise InvalidError(f"expected env[{name!r}] to be a string or None, got {value!r}")
    return {name: value for name, value in (env or {}).items() if value is not None}


def labels(parameters: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what a worker must be labelled with: the parameters `cloud`, `region` and `nonpreemptible`.

    `routing_region` is checked and has no effect: there is one way in.
    """
    found: dict[str, tuple[str, ...]] = {}
    cloud, region = parameters.get("cloud"), parameters.get("region")
    if cloud is not None and (not isinstance(cloud, str) or not cloud):
        raise InvalidError(f"expected cloud to be a string like 'aws' or 'auto', got {cloud!r}")
    if cloud is not None and cloud != "auto":
        found["cloud"] = (cloud,)
    if region is not None:
        found["region"] = _regions(region)
    routing = parameters.get("routing_region")
    if routing is not None and not isinstance(routing, str):
        raise InvalidError(f"expected routing_region to be a string, got {routing!r}")
    if parameters.get("nonpreemptible"):
        found["nonpreemptible"] = ("true",)
    return found


def _regions(region: Any) -> tuple[str, ...]:
    wanted = (region,) if isinstance(region, str) else region
    if not isinstance(wanted, Iterable) or not (found := tuple(wanted)):
        raise InvalidError(f"expected region to be a string or a list of strings, got {region!r}")
    for each in found:
        if not isinstance(each, str) or not each:
            raise InvalidError(f"expected region to be a string or a list of strings, got {region!r}")
    return found


def concurrency(max_inputs: Any, target_inputs: Any) -> Concurrency:
    """Return how many inputs a container runs at once."""
    if max_inputs is None:
        raise InvalidError("max_inputs says how many inputs a container runs at once: it must be given")
    most = count("max_inputs", max_inputs, 1, MOST_CONCURRENT)
    if target_inputs is None:
        return Concurrency(max_inputs=most)
    target = count("target_inputs", target_inputs, 1)
    if target > most:
        raise InvalidError(f"target_inputs ({target}) is above max_inputs ({most})")
    return Concurrency(max_inputs=most, target_inputs=target)


def batching(max_batch_size: Any, wait_ms: Any) -> Batching:
    """Return how inputs are put together."""
    return Batching(
        max_batch_size=count("max_batch_size", max_batch_size, 1, MOST_BATCHED),
        wait_ms=count("wait_ms", wait_ms, 0, LONGEST_WAIT_MS),
    )


def refuse_renamed(where: str, unknown: Iterable[str]) -> None:
    """Raise TypeError for a parameter that has another name today."""
    for each in unknown:
        if each in RENAMED:
            raise TypeError(f"{where} has no parameter {each!r} (any more): say {RENAMED[each]}")
