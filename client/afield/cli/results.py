"""What `--write-result` takes, and where it goes."""

import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from afield.cli.errors import FailureError, WrongUseError


def check(function: Callable[..., Any], name: str) -> None:
    """Raise WrongUseError when the annotations tell that a function returns neither str nor bytes."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names for type checkers only: the result will show
        return
    if "return" in hints and not may_be_text(hints["return"]):
        hint = hints["return"]
        shown = hint.__qualname__ if isinstance(hint, type) else str(hint)
        raise WrongUseError(
            f"--write-result takes a str or bytes, but {name} returns {shown}, as its annotation says; "
            "nothing was run"
        )


def check_place(path: Path) -> None:
    """Raise WrongUseError when a result could not be written to a file, as far as that can be told before."""
    if path.exists():
        if not os.access(path, os.W_OK):
            raise WrongUseError(f"--write-result: {path} is not writable; nothing was run")
        return
    folder = path.parent
    if not folder.is_dir():
        is_what = "is no folder" if folder.exists() else "does not exist"
        raise WrongUseError(f"--write-result: the folder of {path} {is_what}; nothing was run")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WrongUseError(f"--write-result: the folder of {path} is not writable; nothing was run")


def may_be_text(hint: Any) -> bool:
    """Tell whether a value with this annotation can be str or bytes; in doubt it can."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(may_be_text(member) for member in members)
    if origin is typing.Annotated:
        return may_be_text(members[0])
    if origin is typing.Literal:
        return any(isinstance(member, (str, bytes)) for member in members)
    kind = origin or hint
    if kind is Any or not isinstance(kind, type):
        return True
    return any(issubclass(kind, text) or issubclass(text, kind) for text in (str, bytes))


def write(result: Any, path: Path, name: str) -> None:
    """Write a result to a file. Raises FailureError when it is neither str nor bytes, or the file cannot be written."""
    if not isinstance(result, (str, bytes)):
        raise FailureError(
            f"--write-result takes a str or bytes, but {name} returned {type(result).__name__}; nothing was written"
        )
    try:
        path.write_bytes(result.encode() if isinstance(result, str) else result)
    except OSError as error:
        raise FailureError(f"cannot write the result to {path}: {error.strerror}") from error
