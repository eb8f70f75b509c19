"""A function's result, from the platform's bytes to JSON.

The gateway never runs what a user's pickle says: a value that needs a class to be built again is refused by
the name of that class. Everything that JSON can express is made of the pickle's own types, so nothing is lost.
"""

import io
import json
import math
import pickle
from typing import Any, Final

from afield.serialization import MAGIC, Buffer

_PLAIN: Final = (str, int, bool, type(None))


class NotJsonError(ValueError):
    """Raised when a result has no JSON form. `where` is a path like `result['a'][0]`."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what: Final = what
        self.where: Final = where
        place = f" at {where}" if where else ""
        super().__init__(
            f"expected a result of dict, list, tuple, str, int, float, bool and None, got {what}{place}; "
            "convert it in the function, or call the function from Python"
        )


class _PlainUnpickler(pickle.Unpickler):
    """Builds only what needs no import."""

    def find_class(self, module: str, name: str) -> Any:
        raise NotJsonError(f"a {module}.{name}".replace("a builtins.", "a "))

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002 - the signature of pickle
        raise NotJsonError("a reference to another object")


def to_json(value: Buffer) -> bytes:
    """Return `{"result": …}` for a serialised result. Raises NotJsonError when it has no JSON form."""
    if value[: len(MAGIC)] == MAGIC:
        raise NotJsonError("large binary data (bytes or arrays)")
    try:
        result = _PlainUnpickler(io.BytesIO(value)).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise NotJsonError(f"bytes that are not a pickle ({error})") from error
    return encode(result)


def encode(result: Any) -> bytes:
    """Return `{"result": …}` as JSON. Raises NotJsonError, naming the place, when it cannot be."""
    try:
        text = json.dumps({"result": result}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        found = _find(result, "result", depth=0)
        raise NotJsonError(*(found or (str(error), ""))) from error


def _find(value: Any, where: str, depth: int) -> tuple[str, str] | None:
    """Return what in `value` has no JSON form, and where."""
    if depth > 100:
        return "a value that is nested too deeply or contains itself", where[:80]
    if isinstance(value, str):
        return (
            None if value.isprintable() or _is_unicode(value) else ("a str that is not Unicode text", where)
        )
    if isinstance(value, _PLAIN):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else (f"the float {value}", where)
    if isinstance(value, dict):
        return _find_in_dict(value, where, depth)
    if isinstance(value, list | tuple):
        items = (_find(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value))
        return next((found for found in items if found), None)
    return f"a {type(value).__name__}", where


def _find_in_dict(value: dict[Any, Any], where: str, depth: int) -> tuple[str, str] | None:
    for key, item in value.items():
        if not isinstance(key, str | int | float | None):
            return f"a dict key of type {type(key).__name__}", where
        found = _find(item, f"{where}[{key!r}]", depth + 1)
        if found:
            return found
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
