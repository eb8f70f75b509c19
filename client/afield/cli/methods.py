"""A method of a class as something to run: its class's parameters and its own are one list of options."""

import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from afield.cli.errors import WrongUseError

if TYPE_CHECKING:
    from afield.app import App
    from afield.cls import Cls, Obj


_NAMED = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


class MethodTarget:
    """`Class.method`. Called, as a Function is, with the arguments of both together, by name."""

    def __init__(self, cls: "Cls", name: str) -> None:
        assert cls._user_cls is not None, "only a class of a module can be run"
        assert cls._hooks is not None
        self._cls = cls
        self._name = name
        self._user_cls: type = cls._user_cls
        self._method = cls._hooks.methods[name].raw
        self._constructor = _constructor_parameters(self._user_cls, list(cls._hooks.parameters))

    @property
    def app(self) -> "App":
        """The app that its class belongs to."""
        return self._cls.app

    @property
    def raw_f(self) -> Callable[..., Any]:
        """A function with the signature, the annotations and the docstring to read a command line by."""
        own = list(inspect.signature(self._method).parameters.values())[1:]
        twice = {each.name for each in self._constructor} & {each.name for each in own}
        if twice:
            raise WrongUseError(
                f"{self._cls._name} and its method {self._name} both have a parameter {', '.join(sorted(twice))}, "
                f"so the command line cannot tell them apart: call it from a local entrypoint"
            )

        def pooled(*args: Any, **kwargs: Any) -> Any:
            return self.remote(*args, **kwargs)

        pooled.__doc__ = self._method.__doc__
        of_class = {**_hints(_init(self._user_cls)), **_hints(self._user_cls)}
        names = [each.name for each in self._constructor if each.name in of_class]
        pooled.__annotations__ = {**{name: of_class[name] for name in names}, **_hints(self._method)}
        pooled.__signature__ = inspect.Signature(_in_order([*own, *self._constructor]))  # type: ignore[attr-defined]  # what inspect looks for
        return pooled

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Run it in a container and return its result."""
        obj, rest = self._made(kwargs)
        return getattr(obj, self._name).remote(*args, **rest)

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        """Start it in a container."""
        obj, rest = self._made(kwargs)
        return getattr(obj, self._name).spawn(*args, **rest)

    def _made(self, kwargs: dict[str, Any]) -> "tuple[Obj, dict[str, Any]]":
        names = {each.name for each in self._constructor}
        constructor = {name: value for name, value in kwargs.items() if name in names}
        return self._cls(**constructor), {k: v for k, v in kwargs.items() if k not in names}


def _constructor_parameters(user_cls: type, declared: list[str]) -> list[inspect.Parameter]:
    """Return what the class takes, by name: a command line gives no positions."""
    if not declared:
        own = inspect.signature(init) if inspect.isfunction(init := _init(user_cls)) else inspect.Signature()
        # Of `*args` and `**kwargs` a command line gives none.
        named = [each for each in own.parameters.values() if each.kind in _NAMED]
        return [each.replace(kind=each.KEYWORD_ONLY) for each in named[1:]]
    from afield._parameter import NO_DEFAULT

    hints = _hints(user_cls)
    made = []
    for name in declared:
        default = getattr(user_cls, name).default
        made.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is NO_DEFAULT else default,
                annotation=hints.get(name, inspect.Parameter.empty),
            )
        )
    return made


def _init(user_cls: type) -> Any:
    return getattr(user_cls, "__init__")  # noqa: B009 - mypy thinks of subclasses when it sees it written out


def _in_order(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return sorted(parameters, key=lambda each: each.kind)


def _hints(thing: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(thing)
    except (NameError, TypeError, AttributeError):  # names for type checkers only: params reads the text
        return dict(getattr(thing, "__annotations__", {}))
