"""The parameters of `@app.function(...)` and `@app.cls(...)`: checked, and made into a FunctionSpec."""

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from afield import _checked, _rules
from afield._class_hooks import is_async, is_generator
from afield._context import is_remote
from afield._declared import Declared
from afield._wire.functions import CodeRef, Concurrency, FunctionSpec
from afield._wire.ids import is_object_name
from afield.exception import DeprecationError, InvalidError, UnimplementedError
from afield.image import Image
from afield.partial_function import PartialFunction
from afield.resources import parse_resources
from afield.retries import retry_policy

_DEFAULTS: Final[dict[str, tuple[Any, ...]]] = {
    "schedule": (None,),
    "secrets": (None, [], ()),
    "network_file_systems": ({},),
    "volumes": ({},),
    "ephemeral_disk": (None,),
    "proxy": (None,),
    "block_network": (False,),
    "restrict_modal_access": (False,),
    "i6pn": (None, False),
    "_experimental_restrict_output": (False,),
}
"""Parameters that are taken, but not available yet: the values that ask for nothing."""


def refuse_unavailable(parameters: Mapping[str, Any], where: str = "@app.function") -> None:
    """Raise UnimplementedError for the first parameter that asks for something that is not there."""
    for name, defaults in _DEFAULTS.items():
        value = parameters.get(name, defaults[0])
        if not any(
            value is default or (type(value) is type(default) and value == default) for default in defaults
        ):
            raise UnimplementedError(
                f"the parameter `{name}` of {where} is not available yet (got {value!r})"
            )


def declare(
    function: Callable[..., Any] | PartialFunction[..., Any, Any], parameters: Mapping[str, Any]
) -> Declared:
    """Return what `@app.function(**parameters)` says of `function`.

    Raises InvalidError for values that make no sense, UnimplementedError for what is not available yet.
    """
    partial = function if isinstance(function, PartialFunction) else PartialFunction(function)
    raw_f = partial.raw_f
    if not callable(raw_f):
        raise InvalidError(f"@app.function() decorates a function, not {raw_f!r}")
    if inspect.isclass(raw_f):
        raise InvalidError(
            f"@app.function() decorates a function; {raw_f.__name__} is a class: use @app.cls()"
        )
    _refuse_members(partial)
    refuse_unavailable(parameters)
    _checked.flags(parameters)
    name = object_name(raw_f, parameters["name"])
    serialized = travels_by_value(raw_f, name, parameters)
    generator = parameters["is_generator"]
    if generator is None:
        generator = is_generator(raw_f)
    spec = make_spec(
        name,
        parameters,
        is_generator=generator,
        is_async=is_async(raw_f),
        concurrency=partial.concurrency or Concurrency(),
        batching=partial.batching,
    )
    _rules.check(raw_f, spec)
    return Declared(raw_f, name, generator, serialized, parameters["include_source"], spec)


def _refuse_members(partial: PartialFunction[..., Any, Any]) -> None:
    if partial.is_hook:
        what = "@afield.enter()" if partial.enter else "@afield.exit()"
        raise InvalidError(
            f"{what} is for methods of a class with @app.cls(); {partial.name_here} is a function: "
            f"what it does belongs at the top of its module"
        )
    if partial.is_method:
        raise InvalidError(
            f"{partial.name_here} is a method (@afield.method()), so it belongs to a class with @app.cls(); "
            f"a function needs @app.function() alone"
        )


def make_spec(name: str, parameters: Mapping[str, Any], /, **said: Any) -> FunctionSpec:
    """Return the spec for the parameters that functions and classes share. `said`: other fields of it."""
    image = parameters["image"]
    if image is not None and not isinstance(image, Image):
        raise InvalidError(f"expected image to be an afield.Image, got {type(image).__name__}")
    timeout = _checked.seconds("timeout", parameters["timeout"])
    startup = parameters["startup_timeout"]
    _note_experiments(parameters["experimental_options"])
    return FunctionSpec(
        name=name,
        code=CodeRef(module="", qualname=""),
        resources=parse_resources(cpu=parameters["cpu"], memory=parameters["memory"], gpu=parameters["gpu"]),
        scaling=_checked.full_scaling(parameters),
        retries=retry_policy(parameters["retries"]),
        timeout=timeout,
        startup_timeout=timeout if startup is None else _checked.seconds("startup_timeout", startup),
        env=_checked.environment(parameters["env"]),
        single_use=_single_use(parameters),
        snapshot=bool(parameters["enable_memory_snapshot"]),
        labels=_checked.labels(parameters),
        **said,
    )


def object_name(raw_f: Any, given: str | None) -> str:
    """Return the name of a function or class within its app."""
    if given is not None and not isinstance(given, str):
        raise InvalidError(f"expected name to be a string, got {given!r}")
    name = given if given is not None else getattr(raw_f, "__qualname__", "").rpartition("<locals>.")[2]
    if not is_object_name(name):
        raise InvalidError(
            f"a function is named with 1 to 64 letters, digits, '-', '_' and '.', got {name!r}: pass name=..."
        )
    return name


def travels_by_value(raw_f: Any, name: str, parameters: Mapping[str, Any]) -> bool:
    """Tell whether code is sent by value. Raises InvalidError for code that can only be sent so, and is not to be."""
    serialized = bool(parameters["serialized"]) or is_interactive(raw_f)
    if not serialized and not is_remote() and "<" in getattr(raw_f, "__qualname__", "<"):
        raise InvalidError(
            f"{name} is defined inside another function, where containers cannot import it: "
            f"define it at the top of its module, or pass serialized=True"
        )
    return serialized


def is_interactive(raw_f: Any) -> bool:
    """Tell whether a function was typed at a prompt: there is no file that containers could import."""
    return (
        raw_f.__module__ == "__main__"
        and not hasattr(sys.modules["__main__"], "__file__")
        and not is_remote()
    )


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
