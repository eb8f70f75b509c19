"""Which modules a piece of source imports, and where they are below a folder. Nothing is imported to find out."""

import ast
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SUFFIXES: Final = tuple(importlib.machinery.all_suffixes())


def imported_names(source: bytes) -> set[str]:
    """Return the dotted names that a source file may import, anywhere in it; none if it is not valid Python.

    `from a.b import c` counts as `a.b` and as `a.b.c`, which may be a module. Relative imports stay within the package
    and are left out. `importlib.import_module("literal")` counts.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested beyond the parser
        return set()
    return {name for node in ast.walk(tree) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and node.args and _is_import_call(node.func):
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def find_module(root: Path, name: str) -> Path | None:
    """Return the file of module `name` below `root`, or the folder of the outermost package that it is in.

    None if it is not there, or is nothing but a folder without `__init__.py` (a namespace).
    """
    folder = root
    for part in name.split("."):
        if not part.isidentifier():
            return None
        inner = folder / part
        if is_package(inner):
            return inner
        for suffix in _SUFFIXES:
            file = folder / (part + suffix)
            if file.is_file():
                return file
        if not inner.is_dir():
            return None
        folder = inner
    return None


def is_package(folder: Path) -> bool:
    """Tell whether a folder is a regular package."""
    return any((folder / f"__init__{suffix}").is_file() for suffix in _SUFFIXES)


def is_installed(name: str) -> bool:
    """Tell whether the interpreter finds a regular module or package of this top-level name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a module without a spec, or a finder that refuses
        return False
    return spec is not None and spec.origin is not None
