"""Method: a method of a class with certain arguments, to be called as a Function is."""

from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from afield import _class_hooks
from afield._hydrate import Binding
from afield._suggest import did_you_mean
from afield._wire.functions import Options
from afield.exception import InvalidError
from afield.function import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - see afield.function


class Method(Function[P, R, O]):
    """`obj.method`. Its calls go to the containers of `service`, the class with its arguments.

    `known`: the method as it was written, where the class is here; `local` runs it here. `service` None: the instance
    is not one of afield's making, so it has no containers.
    """

    def __init__(
        self,
        service: Function[..., Any, Any] | None,
        class_name: str,
        name: str,
        *,
        known: _class_hooks.Method | None = None,
        local: Callable[P, O] | None = None,
    ) -> None:
        super().__init__(app=None if service is None else service._app)
        self._service = service
        self._class_name = class_name
        self._method = name
        self._known = known
        self._local = local
        if known is not None:
            self.__name__ = name
            self.__doc__ = known.raw.__doc__
            self.__module__ = known.raw.__module__
            self.__qualname__ = known.raw.__qualname__
            self.__wrapped__ = known.raw

    # -- what it is --

    @property
    def raw_f(self) -> Callable[P, O]:
        """The method as it was written, with `self`. Raises InvalidError for a class that was looked up."""
        if self._known is None:
            raise InvalidError(f"{self!r} was looked up, so its code is not here: use .remote()")
        return self._known.raw

    @property
    def is_generator(self) -> bool:
        """Whether it yields values. Of a class that was looked up, known after its first use."""
        if self._known is not None:
            return self._known.is_generator
        binding = self._binding
        spec = binding.record.spec.methods.get(self._method) if binding is not None else None
        return spec is not None and spec.is_generator

    @property
    def _name(self) -> str:
        return f"{self._class_name}.{self._method}"

    @property
    def _spelled(self) -> str:
        return f"{self._class_name}().{self._method}"

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run it here, on an instance that is made once, with its `enter` hooks run before the first call."""
        if self._local is None:
            raise InvalidError(f"{self!r} was looked up, so its code is not here: use .remote()")
        return self._local(*args, **kwargs)

    # -- inside --

    @property
    def _binding(self) -> Binding | None:
        return None if self._service is None else self._service._binding

    @property
    def _is_known(self) -> bool:
        return self._known is not None or self._binding is not None

    def _is_here(self) -> bool:
        return self._service is not None and self._service._is_here()

    def _can_hydrate(self) -> bool:
        return self._service is not None and self._service._can_hydrate()

    async def _hydrate(self) -> Binding:
        if self._service is None:
            raise InvalidError(self._not_hydrated("it cannot be called"))
        return await self._service._hydrate()

    def _not_hydrated(self, consequence: str) -> str:
        if self._service is not None:
            return self._service._not_hydrated(consequence)
        return (
            f"this instance of {self._class_name} was not made by afield, so {consequence}: "
            f"use .local(), or an object made by calling a class with @app.cls()"
        )

    def _check_kind(self) -> None:
        binding = self._binding
        if binding is None:
            return
        record = binding.record
        if not record.spec.is_class:
            raise InvalidError(
                f"{record.spec.name} of app {record.app_name!r} is a function: look it up with "
                f"afield.Function.from_name({record.app_name!r}, {record.spec.name!r})"
            )
        methods = record.spec.methods
        if self._method not in methods:
            raise InvalidError(
                f"{self._class_name} has no method {self._method!r}{did_you_mean(self._method, methods)}; "
                f"it has {', '.join(methods)}"
            )

    def _variant(self, options: Options) -> NoReturn:  # noqa: ARG002 - as Function has it
        raise InvalidError(
            f"settings belong to a class, not to one of its methods: use {self._class_name}.with_options(...)(), "
            f".with_concurrency(...)() or .with_batching(...)(), then .{self._method}"
        )

    def _amend(self, **_said: Any) -> NoReturn:
        raise InvalidError(f"{self._name} is a method: decorate it in the body of its class")

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the class with its arguments, and a name."""
        if self._service is None:
            raise InvalidError(self._not_hydrated("it cannot be sent anywhere"))
        return _revive, (self._service, self._class_name, self._method)


def _revive(service: Function[..., Any, Any], class_name: str, name: str) -> Method[..., Any, Any]:
    return Method(service, class_name, name)
