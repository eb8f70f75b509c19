"""Declared: a function or class as its decorators said, before the platform knows it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from afield._wire.functions import FunctionSpec


class Declared(NamedTuple):
    """What `@app.function(...)` or `@app.cls(...)` said. `raw_f`: the function or the class as it was written."""

    raw_f: Callable[..., Any]
    name: str
    is_generator: bool
    serialized: bool
    include_source: bool | None
    spec: FunctionSpec
    """Complete but for the code, which is found when the app runs."""
