"""Finds the function or class that a container is for: imports the user's module, or unpickles it."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from afield import _alias, serialization
from afield._class_hooks import find_hooks
from afield._wire.functions import CodeRef, FunctionSpec
from afield._wire.guest import Start
from afield.app import App
from afield.cls import Cls
from afield.exception import ExecutionError
from afield.function import Function


class Loaded(NamedTuple):
    """A function or a class, as its user wrote it."""

    raw: Callable[..., Any]
    is_generator: bool
    is_async: bool
    """Whether its code, or any method or hook of the class, needs an event loop."""
    app: App | None
    """The App that it belongs to; None if that cannot be told."""


def load(start: Start) -> Loaded:
    """Return the function or class that `start` names, with its app bound to the platform's records.

    The home folder comes first on sys.path. The module is imported under its own name, and `__main__` means it from
    then on, so `if __name__ == "__main__"` blocks do not run and pickles of `__main__.X` find X.
    Raises ExecutionError when there is no such thing, and what user code raises while it is imported.
    """
    spec = start.function.spec
    _alias.install_from_environment()
    os.chdir(start.home)
    sys.path.insert(0, start.home)
    sys.argv = [os.path.join(start.home, spec.code.entry) if spec.code.entry else start.home]
    if start.serialized_path:
        with open(start.serialized_path, "rb") as file:
            found, module = serialization.loads(file.read()), None
    else:
        module = _import_main(spec.code)
        found = _look_up(module, spec.code)
    raw, app = _unwrap(found, module, spec)
    if not callable(raw) or isinstance(raw, type) != spec.is_class:
        kind = "class" if spec.is_class else "function"
        raise ExecutionError(f"expected a {kind} as {_name(spec.code)}, got {raw!r}")
    if app is not None:
        app._bind_remote(app_id=start.function.app_id, ws=start.function.ws)
    if spec.is_class:
        return Loaded(raw, is_generator=False, is_async=find_hooks(raw).is_async, app=app)
    return Loaded(raw, _is_generator(raw, spec), _is_async(raw, spec), app)


def _import_main(code: CodeRef) -> ModuleType:
    # The template ran as `__main__`; user code must not find that under this name.
    sys.modules["__main__"] = ModuleType("__main__")
    importlib.invalidate_caches()
    module = importlib.import_module(code.module)
    sys.modules["__main__"] = module
    return module


def _look_up(module: ModuleType, code: CodeRef) -> Any:
    if "<locals>" in code.qualname:
        raise ExecutionError(
            f"{_name(code)} is defined inside another function, where a container cannot find it. "
            "Define it at the top of the module, or pass serialized=True."
        )
    found: Any = module
    for part in code.qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ExecutionError(
                f"{module.__file__} defines no {code.qualname!r} when it is imported in a container. Is it defined "
                "only under `if __name__ == '__main__':`, only on some machines, or renamed?"
            ) from None
    return found


def _unwrap(found: Any, module: ModuleType | None, spec: FunctionSpec) -> tuple[Any, App | None]:
    """Return what the user wrote and its app, whatever stands at the name: ours (Function, Cls), or the thing itself."""
    if isinstance(found, Function):
        return found.raw_f, found.app
    if isinstance(found, Cls):
        return found._user_cls, found.app
    # Another decorator was put on top of ours, or it has another name; the app still knows what to run.
    apps = [value for value in vars(module).values() if isinstance(value, App)] if module else []
    for app in apps:
        function = app._functions.get(spec.name)
        if function is not None and function.raw_f.__qualname__ == spec.code.qualname:
            return function.raw_f, app
    return found, None


def _is_generator(raw: Any, spec: FunctionSpec) -> bool:
    return spec.is_generator or inspect.isgeneratorfunction(raw) or inspect.isasyncgenfunction(raw)


def _is_async(raw: Any, spec: FunctionSpec) -> bool:
    return spec.is_async or inspect.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw)


def _name(code: CodeRef) -> str:
    return f"{code.module}.{code.qualname}"
