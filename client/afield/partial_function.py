"""PartialFunction: a function with properties that another decorator has still to make use of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - see afield.function


@dataclass(frozen=True)
class PartialFunction(Generic[P, R, O]):
    """A function and what decorators below `@app.function()` said of it."""

    raw_f: Callable[P, O]
    params: dict[str, Any] = field(default_factory=dict)

    def stack(self, **params: Any) -> "PartialFunction[P, R, O]":
        """Return the same function with more said of it; what is said later wins."""
        return PartialFunction(self.raw_f, {**self.params, **params})
