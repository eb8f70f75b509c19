"""The entry module: the user's main file, which is `__main__` here and has another name in containers.

`python script.py` runs the file as `__main__`; containers import it as `script`. What the file defines must be the
same thing on both sides, so it travels by reference, under the name that containers use. What is defined only under
`if __name__ == "__main__":` does not exist there, and travels by value.
"""

import ast
import sys
import tokenize
from collections.abc import Iterator
from types import FunctionType, ModuleType

from afield.exception import InvalidError

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

_name: str | None = None
_importable: frozenset[str] | None = None
"""Names that importing the entry file binds; None until somebody asks."""


def set_main_module(name: str | None) -> None:
    """Say under which name containers import the file that runs here as `__main__`; None takes it back.

    From then on `name` also means `__main__` in this process (`sys.modules`), so that what comes back from a
    container, or `import name` in a sibling, finds the classes that are here already, and the file is not run twice.
    Raises InvalidError if `name` is the name of another module.
    """
    global _name, _importable
    main = sys.modules["__main__"]
    if name is None:
        if _name is not None and sys.modules.get(_name) is main:
            del sys.modules[_name]
        _name, _importable = None, None
        return
    other = sys.modules.get(name)
    if other is not None and other is not main and _file(other) != _file(main):
        raise InvalidError(
            f"{_file(main)} has the name of the module {name!r} that is already imported from "
            f"{_file(other) or 'the interpreter'}, so containers could not import it. Rename the file."
        )
    sys.modules[name] = main
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and not hasattr(sys.modules[parent], child):
        setattr(sys.modules[parent], child, main)
    _name, _importable = name, None


def main_module() -> str | None:
    """Return the name that was given to set_main_module, or None."""
    return _name


def entry_reference(thing: type | FunctionType) -> tuple[str, str] | None:
    """Return (module, qualified name) under which a container finds a class or function of `__main__`.

    None means that it must travel by value.
    """
    global _importable
    qualname = thing.__qualname__
    if _name is None or "<" in qualname:
        return None
    main = sys.modules["__main__"]
    try:
        found = resolve(main, qualname)
    except AttributeError:
        return None
    if found is not thing:
        return None
    if _importable is None:
        _importable = _names_bound_by_import(main)
    return (_name, qualname) if qualname.partition(".")[0] in _importable else None


def resolve(module: ModuleType, qualname: str) -> object:
    """Return what a dotted name means in a module. Raises AttributeError."""
    found: object = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ""


def _names_bound_by_import(main: ModuleType) -> frozenset[str]:
    try:
        with tokenize.open(_file(main)) as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):  # interactive, frozen, or a zip: nothing to import
        return frozenset()
    always, main_only = _bound_names(tree.body, guarded=False)
    return frozenset(always - main_only)


def _bound_names(body: list[ast.stmt], *, guarded: bool) -> tuple[set[str], set[str]]:
    """Return the names that statements bind: outside of `__main__` guards, and inside."""
    outside: set[str] = set()
    inside: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.If) and _mentions_main(statement.test):
            plain = isinstance(statement.test, ast.Compare) and isinstance(statement.test.ops[0], ast.Eq)
            for branch, in_guard in ((statement.body, True), (statement.orelse, not plain)):
                always, main_only = _bound_names(branch, guarded=guarded or in_guard)
                outside |= always
                inside |= main_only
        else:
            (inside if guarded else outside).update(_bindings(statement))
    return outside, inside


def _mentions_main(test: ast.expr) -> bool:
    nodes = list(ast.walk(test))
    return any(isinstance(n, ast.Name) and n.id == "__name__" for n in nodes) and any(
        isinstance(n, ast.Constant) and n.value == "__main__" for n in nodes
    )


def _bindings(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in its own scope."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _bindings(child)
