"""What `afield run` is asked to run: `FILE.py`, `FILE.py::NAME`, `FILE.py::APP.NAME`, or `-m package.module[::NAME]`.

NAME is a function, a local entrypoint, `CLASS.METHOD`, or a class with one method. Without a NAME, the first of these
that there is, if it is the only one of its kind: a local entrypoint in the module, a function or method in the module, a
local entrypoint of an app, a function or method of an app.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from afield.cli.errors import WrongUseError

STDIN: Final = "-"

Kind = Literal["entrypoint", "function", "generator"]


class Ref(NamedTuple):
    """A parsed reference: exactly one of `file` and `module` is set, `name` may be empty."""

    file: Path | None
    module: str
    name: str

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else f"-m {self.module}"

    def with_name(self, name: str) -> str:
        """Return how to write this reference for another name."""
        return f"{self}::{name}"


class Candidate(NamedTuple):
    """Something in the module that could be run. `names` are all the ways to write it, the best one first."""

    kind: Kind
    names: tuple[str, ...]
    in_module: bool
    """Whether it is a variable of the module; else it is only known to its app."""
    target: Any
    app: str = ""
    """The variable that holds its app, if there is one."""
    owners: tuple[str, ...] = ()
    """Of a method: all the ways to write its class."""

    @property
    def name(self) -> str:
        """The best way to write it."""
        return self.names[0]


def parse(text: str, *, as_module: bool) -> Ref:
    """Parse a reference. Raises WrongUseError, saying what is wrong with it."""
    path, double, name = text.partition("::")
    if double and not name:
        raise WrongUseError(f"{text!r} ends in '::': give the name of a function after it, or leave it out")
    if not path:
        raise WrongUseError(f"{text!r} names no file: write FILE.py or FILE.py::NAME")
    if as_module:
        return Ref(None, _module(path), name)
    if ":" in path:
        head, _, tail = path.partition(":")
        raise WrongUseError(f"{text!r} has a single ':'; two separate the file from the name: {head}::{tail}")
    if path == STDIN:
        return Ref(Path(STDIN), "", name)
    return Ref(_file(path, name), "", name)


def _module(path: str) -> str:
    if path.endswith(".py") or "/" in path:
        raise WrongUseError(
            f"-m takes a module like package.module, not the file {path!r}; leave out -m for a file"
        )
    if ":" in path or not all(part.isidentifier() for part in path.split(".")):
        hint = f"; two ':' separate it from the name: {path.replace(':', '::', 1)}" if ":" in path else ""
        raise WrongUseError(f"{path!r} cannot be the name of a module{hint}")
    return path


def _file(path: str, name: str) -> Path:
    file = Path(path)
    suffix = f"::{name}" if name else ""
    if file.suffix != ".py":
        module = path.replace("/", ".")
        hint = f"; for a module write -m {module}{suffix}" if _is_dotted(module) else ""
        raise WrongUseError(f"{path!r} is not a Python file (its name does not end in .py){hint}")
    if "." in file.stem:
        raise WrongUseError(
            f"the file name {file.name!r} has a further '.' in it, so it cannot be imported; rename it"
        )
    if not file.exists():
        raise WrongUseError(f"there is no file {path!r}{_similar_file(file)}")
    if not file.is_file():
        raise WrongUseError(f"{path!r} is not a file")
    return file


def _is_dotted(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))


def _similar_file(file: Path) -> str:
    try:
        there = [each.name for each in file.parent.iterdir() if each.suffix == ".py"]
    except OSError:
        return ""
    close = difflib.get_close_matches(file.name, there, 1)
    return f"; did you mean {str(file.parent / close[0])!r}?" if close else ""


def choose(ref: Ref, candidates: Sequence[Candidate], apps: Sequence[str]) -> Candidate:
    """Return what to run. `apps` are the variables of the module that hold apps.

    Raises WrongUseError, with the candidates listed, when the reference fits none or several.
    """
    if not candidates:
        raise WrongUseError(_nothing(ref, apps))
    if ref.name in apps:
        return _only(ref, [c for c in candidates if c.app == ref.name])
    owned = [c for c in candidates if ref.name in c.owners]
    if owned:
        return _only(ref, owned)
    if ref.name:
        return _runnable(ref, _named(ref, candidates))
    return _only(ref, candidates)


def _nothing(ref: Ref, apps: Sequence[str]) -> str:
    if apps:
        return f"{ref} has an app ({apps[0]}), but nothing to run: give it a function or a local entrypoint"
    return f"{ref} has no app: make one at module level, as in app = afield.App()"


def _named(ref: Ref, candidates: Sequence[Candidate]) -> Candidate:
    for candidate in candidates:
        if ref.name in candidate.names:
            return candidate
    names = [name for candidate in candidates for name in candidate.names]
    close = difflib.get_close_matches(ref.name, names, 1)
    hint = f"did you mean {ref.with_name(close[0])}?" if close else f"there is {_listed(ref, candidates)}"
    raise WrongUseError(f"{ref} has nothing named {ref.name!r} to run; {hint}")


def _runnable(ref: Ref, candidate: Candidate) -> Candidate:
    if candidate.kind == "generator":
        raise WrongUseError(
            f"{ref.with_name(candidate.name)} is a generator, which cannot be run by itself: "
            "call it from a local entrypoint with .remote_gen()"
        )
    return candidate


def _only(ref: Ref, candidates: Sequence[Candidate]) -> Candidate:
    if not candidates:
        raise WrongUseError(f"{ref}::{ref.name} has nothing to run: give it a function or a local entrypoint")
    levels = [
        [c for c in candidates if c.kind == kind and c.in_module is in_module]
        for in_module in (True, False)
        for kind in ("entrypoint", "function")
    ]
    level = next((level for level in levels if level), None)
    if level is None:
        return _runnable(ref, candidates[0])
    if len(level) > 1:
        raise WrongUseError(
            f"{ref} has {len(level)} {_what(level)}; say which one to run: {_listed(ref, level)}"
        )
    return level[0]


def _what(level: Sequence[Candidate]) -> str:
    if level[0].kind == "entrypoint":
        return "local entrypoints"
    methods = [bool(candidate.owners) for candidate in level]
    return "methods" if all(methods) else "functions and methods" if any(methods) else "functions"


def _listed(ref: Ref, candidates: Sequence[Candidate]) -> str:
    return ", ".join(ref.with_name(candidate.name) for candidate in candidates)
