"""LocalEntrypoint: the function that `afield run` runs here, while its app runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from afield.app import App

P = ParamSpec("P")
R = TypeVar("R")


class LocalEntrypoint(Generic[P, R]):
    """Made by `@app.local_entrypoint()`. Called like the function itself, it runs here."""

    def __init__(self, raw_f: Callable[P, R], app: "App", name: str) -> None:
        self.raw_f = raw_f
        self.app = app
        self.name = name
        self.__name__ = name
        self.__doc__ = raw_f.__doc__
        self.__module__ = raw_f.__module__
        self.__wrapped__: Callable[..., Any] = raw_f

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here."""
        return self.raw_f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"LocalEntrypoint({self.name!r})"
