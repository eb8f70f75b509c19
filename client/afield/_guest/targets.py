"""What an input can call in a container: the function, or the methods of the class."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn

from afield.exception import ExecutionError


class Target(NamedTuple):
    """Something to call, and how."""

    call: Callable[..., Any]
    is_generator: bool
    is_async: bool


class Targets:
    """What can be called, by method; a function's name is empty."""

    def __init__(self, name: str, targets: Mapping[str, Target]) -> None:
        """`name` is what errors call it."""
        self._name = name
        self._targets = dict(targets)

    def find(self, method: str) -> Target:
        """Return what to call; for a method that is not there, something that raises ExecutionError."""
        target = self._targets.get(method)
        return Target(partial(self._miss, method), False, False) if target is None else target

    def _miss(self, method: str, *_args: Any, **_kwargs: Any) -> NoReturn:
        names = ", ".join(sorted(self._targets))
        raise ExecutionError(
            f"expected a method of {self._name} (it has {names}), got {method!r}: is the caller's code newer than "
            "what runs here?"
        )

    @property
    def only(self) -> Target:
        """Return the one there is. Raises ExecutionError when there are several."""
        if len(self._targets) != 1:
            raise ExecutionError(f"expected one thing to call in {self._name}, got {len(self._targets)}")
        return next(iter(self._targets.values()))
