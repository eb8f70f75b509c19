"""Importing the user's file or module, and finding in it what could be run."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from afield.cli.errors import WrongUseError
from afield.cli.methods import MethodTarget
from afield.cli.refs import STDIN, Candidate, Kind, Ref

if TYPE_CHECKING:
    from afield._class_hooks import Method
    from afield.app import App


class UserCodeError(Exception):
    """The user's module raised while it was imported; `__cause__` is what it raised."""


@contextmanager
def script_of(ref: Ref) -> Iterator[Ref]:
    """Give a reference to standard input a file, for as long as the block lasts. Other references stay."""
    if ref.file != Path(STDIN):
        yield ref
        return
    with TemporaryDirectory(prefix="afield-stdin-") as folder:
        file = Path(folder) / "stdin_script.py"
        file.write_bytes(sys.stdin.buffer.read())
        yield ref._replace(file=file)


def load(ref: Ref) -> ModuleType:
    """Import what a reference names; a file is imported under its stem, so `__main__` blocks do not run.

    Raises WrongUseError when there is no such module, UserCodeError when its code raises.
    """
    # As for `python -m`: what is in the working folder can be imported.
    sys.path.insert(0, "")
    if ref.file is None:
        return _load_module(ref.module)
    return _load_file(ref.file, ref.name)


def _load_module(name: str) -> ModuleType:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        raise WrongUseError(f"there is no module {error.name!r} that -m {name} could mean") from None
    except Exception as error:
        raise UserCodeError from error
    if spec is None:
        raise WrongUseError(f"there is no module {name!r} in the working folder or on the Python path")
    with _user_code():
        return importlib.import_module(name)


def _load_file(file: Path, ref_name: str) -> ModuleType:
    path = os.path.abspath(file)
    name = file.stem
    other = sys.modules.get(name)
    if other is not None:
        where = getattr(other, "__file__", None) or "the interpreter"
        raise WrongUseError(
            f"{file} has the name of the module {name!r}, already imported from {where}; rename it"
        )
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a file that ends in .py has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _user_code():
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            if "no known parent package" in str(error):
                error.add_note(_as_module(Path(path), ref_name))
            raise
    return module


def _as_module(file: Path, name: str) -> str:
    """Return how to run a file that belongs to a package: relative imports work only in a module of one."""
    root = file.parent
    while (root.parent / "__init__.py").exists():
        root = root.parent
    root = root.parent
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    where = "" if root == Path.cwd() else f" in {root}"
    return (
        f"Relative imports need a package, and a file by itself is in none: "
        f"try `afield run -m {module}{f'::{name}' if name else ''}`{where}"
    )


@contextmanager
def _user_code() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise UserCodeError from error


def candidates(module: ModuleType) -> tuple[list[Candidate], list[str]]:
    """Return what in the module could be run, in the order of its definition, and the variables that hold its apps."""
    from afield.app import App

    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    names: dict[int, list[str]] = {}
    targets: dict[int, Any] = {}
    for name, value in vars(module).items():
        if _can_run(value):
            names.setdefault(id(value), []).append(name)
            targets[id(value)] = value
    in_module = set(targets)
    for variable, app in apps.items():
        for name, value in _registered(app):
            names.setdefault(id(value), []).extend([f"{variable}.{name}", name])
            targets[id(value)] = value
    found = [
        candidate
        for key, target in targets.items()
        for candidate in _candidates(
            target, tuple(dict.fromkeys(names[key])), key in in_module, _app_of(target, apps)
        )
    ]
    return found, list(apps)


def _registered(app: "App") -> list[tuple[str, Any]]:
    return [
        *app.registered_entrypoints.items(),
        *app.registered_functions.items(),
        *app.registered_classes.items(),
    ]


def _can_run(value: object) -> bool:
    return _kind(value) is not None or _methods(value) != {}


def _candidates(target: Any, names: tuple[str, ...], in_module: bool, app: str) -> list[Candidate]:
    """Return a function or an entrypoint as itself, a class as its methods."""
    kind = _kind(target)
    if kind is not None:
        return [Candidate(kind, names, in_module, target, app)]
    return [
        Candidate(
            "generator" if method.is_generator else "function",
            tuple(f"{owner}.{name}" for owner in names),
            in_module,
            MethodTarget(target, name),
            app,
            names,
        )
        for name, method in _methods(target).items()
    ]


def _methods(value: object) -> "dict[str, Method]":
    from afield.cls import Cls

    # A class that was looked up by name is not of this module.
    return value._hooks.methods if isinstance(value, Cls) and value._hooks is not None else {}


def _kind(value: object) -> Kind | None:
    from afield.function import Function
    from afield.local_entrypoint import LocalEntrypoint

    if isinstance(value, LocalEntrypoint):
        return "entrypoint"
    # A function that was looked up by name is not of this module, and its app need not be.
    if not isinstance(value, Function) or value._app is None:
        return None
    return "generator" if value.is_generator else "function"


def _app_of(target: Any, apps: dict[str, "App"]) -> str:
    return next((variable for variable, app in apps.items() if app is target.app), "")
