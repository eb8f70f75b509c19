"""The parameters of `@app.function(...)`: checked, and made into a FunctionSpec."""

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from afield._context import is_remote
from afield._wire.functions import CodeRef, FunctionSpec, Scaling
from afield._wire.ids import is_object_name
from afield.exception import DeprecationError, InvalidError, UnimplementedError
from afield.function import Declared, looks_like_generator
from afield.image import Image
from afield.partial_function import PartialFunction
from afield.resources import parse_resources
from afield.retries import retry_policy

LONGEST_TIMEOUT: Final = 86_400
SCALEDOWN_RANGE: Final = (2, 3600)

_DEFAULTS: Final[dict[str, tuple[Any, ...]]] = {
    "schedule": (None,),
    "secrets": (None, [], ()),
    "network_file_systems": ({},),
    "volumes": ({},),
    "ephemeral_disk": (None,),
    "proxy": (None,),
    "cloud": (None, "auto"),
    "region": (None,),
    "routing_region": (None,),
    "nonpreemptible": (False,),
    "enable_memory_snapshot": (False,),
    "block_network": (False,),
    "restrict_modal_access": (False,),
    "i6pn": (None, False),
    "_experimental_restrict_output": (False,),
}
"""Parameters that are taken, but not available yet: the values that ask for nothing."""


def refuse_unavailable(parameters: Mapping[str, Any]) -> None:
    """Raise UnimplementedError for the first parameter that asks for something that is not there."""
    for name, defaults in _DEFAULTS.items():
        value = parameters.get(name, defaults[0])
        if not any(
            value is default or (type(value) is type(default) and value == default) for default in defaults
        ):
            raise UnimplementedError(
                f"the parameter `{name}` of @app.function is not available yet (got {value!r})"
            )


def declare(
    function: Callable[..., Any] | PartialFunction[..., Any, Any], parameters: Mapping[str, Any]
) -> Declared:
    """Return what `@app.function(**parameters)` says of `function`.

    Raises InvalidError for values that make no sense, UnimplementedError for what is not available yet.
    """
    raw_f = function.raw_f if isinstance(function, PartialFunction) else function
    if not callable(raw_f):
        raise InvalidError(f"@app.function() decorates a function, not {raw_f!r}")
    if inspect.isclass(raw_f):
        raise InvalidError(
            f"@app.function() decorates a function; {raw_f.__name__} is a class: use @app.cls()"
        )
    refuse_unavailable(parameters)
    image = parameters["image"]
    if image is not None and not isinstance(image, Image):
        raise InvalidError(f"expected image to be an afield.Image, got {type(image).__name__}")
    name = _name(raw_f, parameters["name"])
    serialized = bool(parameters["serialized"]) or is_interactive(raw_f)
    if not serialized and not is_remote():
        _check_scope(raw_f, name)
    is_generator = parameters["is_generator"]
    if is_generator is None:
        is_generator = looks_like_generator(raw_f)
    spec = _spec(raw_f, name, is_generator, parameters)
    return Declared(raw_f, name, is_generator, serialized, parameters["include_source"], spec)


def _spec(
    raw_f: Callable[..., Any], name: str, is_generator: bool, parameters: Mapping[str, Any]
) -> FunctionSpec:
    timeout = _seconds("timeout", parameters["timeout"])
    startup = parameters["startup_timeout"]
    retries = retry_policy(parameters["retries"])
    if is_generator and retries.max_retries:
        raise InvalidError(
            f"{name} is a generator: its values cannot be taken back, so it cannot have retries"
        )
    _note_experiments(parameters["experimental_options"])
    return FunctionSpec(
        name=name,
        code=CodeRef(module="", qualname=""),
        is_generator=is_generator,
        is_async=inspect.iscoroutinefunction(raw_f) or inspect.isasyncgenfunction(raw_f),
        resources=parse_resources(cpu=parameters["cpu"], memory=parameters["memory"], gpu=parameters["gpu"]),
        scaling=_scaling(parameters),
        retries=retries,
        timeout=timeout,
        startup_timeout=timeout if startup is None else _seconds("startup_timeout", startup),
        env=_environment(parameters["env"]),
        single_use=_single_use(parameters),
    )


def _name(raw_f: Callable[..., Any], given: str | None) -> str:
    if given is not None and not isinstance(given, str):
        raise InvalidError(f"expected name to be a string, got {given!r}")
    name = given if given is not None else getattr(raw_f, "__qualname__", "").rpartition("<locals>.")[2]
    if not is_object_name(name):
        raise InvalidError(
            f"a function is named with 1 to 64 letters, digits, '-', '_' and '.', got {name!r}: pass name=..."
        )
    return name


def _check_scope(raw_f: Callable[..., Any], name: str) -> None:
    if "<" in getattr(raw_f, "__qualname__", "<"):
        raise InvalidError(
            f"{name} is defined inside another function, where containers cannot import it: "
            f"define it at the top of its module, or pass serialized=True"
        )


def is_interactive(raw_f: Callable[..., Any]) -> bool:
    """Tell whether a function was typed at a prompt: there is no file that containers could import."""
    return (
        raw_f.__module__ == "__main__"
        and not hasattr(sys.modules["__main__"], "__file__")
        and not is_remote()
    )


def _seconds(what: str, value: Any) -> float:
    if not _is_number(value) or not 1 <= value <= LONGEST_TIMEOUT:
        raise InvalidError(f"expected {what} to be 1 to {LONGEST_TIMEOUT:,} seconds, got {value!r}")
    return float(value)


def _scaling(parameters: Mapping[str, Any]) -> Scaling:
    least, most = parameters["min_containers"], parameters["max_containers"]
    for name in ("min_containers", "buffer_containers"):
        _count(name, parameters[name], 0)
    _count("max_containers", most, 1)
    if least is not None and most is not None and least > most:
        raise InvalidError(f"min_containers ({least}) is above max_containers ({most})")
    window = parameters["scaledown_window"]
    low, high = SCALEDOWN_RANGE
    if window is not None and (not _is_number(window) or not low <= window <= high):
        raise InvalidError(f"expected scaledown_window to be {low} to {high} seconds, got {window!r}")
    return Scaling(
        min_containers=least or 0,
        max_containers=most,
        buffer_containers=parameters["buffer_containers"] or 0,
        scaledown_window=Scaling().scaledown_window if window is None else float(window),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(name: str, value: Any, least: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InvalidError(f"expected {name} to be a whole number of at least {least}, got {value!r}")


def _environment(env: Mapping[str, str | None] | None) -> dict[str, str]:
    if env is not None and not isinstance(env, Mapping):
        raise InvalidError(f"expected env to be a dict of strings, got {env!r}")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise InvalidError(f"expected the name of an environment variable, got {name!r}")
        if value is not None and (not isinstance(value, str) or "\0" in value):
            raise InvalidError(f"expected env[{name!r}] to be a string or None, got {value!r}")
    return {name: value for name, value in (env or {}).items() if value is not None}


def _single_use(parameters: Mapping[str, Any]) -> bool:
    max_inputs = parameters["max_inputs"]
    if max_inputs is None:
        return bool(parameters["single_use_containers"])
    if max_inputs != 1:
        raise InvalidError(
            f"max_inputs can only be 1, got {max_inputs!r}: say single_use_containers=True instead"
        )
    warnings.warn(
        "max_inputs=1 is an old spelling: say single_use_containers=True", DeprecationError, stacklevel=5
    )
    return True


def _note_experiments(options: Mapping[str, Any] | None) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise InvalidError(f"expected experimental_options to be a dict, got {type(options).__name__}")
    for name in options or {}:
        warnings.warn(
            f"the experimental option {name!r} is not known here and does nothing", UserWarning, stacklevel=5
        )
