"""Importing afield under another name: `import modal` in a program, with `afield run --alias modal`.

The other name is a name only: `modal.App` is `afield.App`, and `modal.exception` is `afield.exception`, the same module
object. It also holds in the containers of the run, through the variable `AFIELD_ALIAS` in their environment.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from afield.exception import InvalidError

VARIABLE: Final = "AFIELD_ALIAS"


def install(name: str) -> None:
    """Make `import <name>` mean afield in this process, and in containers started with its environment.

    Doing it again does nothing. Raises InvalidError for a name that is no module name, or of a module already imported.
    """
    if not name.isidentifier():
        raise InvalidError(f"an alias is a module name like modal, not {name!r}")
    if any(isinstance(finder, _Finder) and finder.alias == name for finder in sys.meta_path):
        return
    if name in sys.modules:
        raise InvalidError(f"the module {name!r} is imported already, so it cannot become an alias of afield")
    sys.meta_path.insert(0, _Finder(name))
    os.environ[VARIABLE] = name


def environment() -> dict[str, str]:
    """Return what the environment of a container needs, so that the alias of this process holds there too."""
    return {VARIABLE: name} if (name := os.environ.get(VARIABLE)) else {}


def install_from_environment() -> None:
    """Install the alias that the environment names, if it names one."""
    name = os.environ.get(VARIABLE)
    if name:
        install(name)


class _Finder(MetaPathFinder):
    """Finds the modules below the alias."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> ModuleSpec | None:
        top, dot, rest = fullname.partition(".")
        if top != self.alias:
            return None
        real = f"afield{dot}{rest}"
        if importlib.util.find_spec(real) is None:
            return None
        return ModuleSpec(fullname, _Loader(real), is_package=not dot)


class _Loader(Loader):
    """Gives the real module, whatever it is asked for as."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - as above
        module = importlib.import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec into the module: give it its own back.
        module.__spec__ = self._spec
