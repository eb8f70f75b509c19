"""Cls: a class whose methods run somewhere else. Obj: such a class with its arguments."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Never

from afield import _checked, config
from afield._arguments import encode_arguments, freeze
from afield._class_hooks import Hooks, find_hooks, method_of
from afield._local_object import LocalObject
from afield._method import Method
from afield._options import batching_options, concurrency_options, parse_options
from afield._parameter import Parameter, parameter
from afield._suggest import did_you_mean
from afield._trim import trimmed
from afield._variant import Arguments, Variant
from afield._wire.api import FunctionRef
from afield._wire.functions import Batching, Concurrency, FunctionRecord, Options
from afield._wire.ids import is_object_name
from afield.exception import InvalidError, UnimplementedError
from afield.function import Function
from afield.partial_function import PartialFunction
from afield.retries import Retries

if TYPE_CHECKING:
    from afield.app import App

__all__ = ["Cls", "Obj", "is_parameter", "parameter"]

MOST_REMEMBERED: Final = 1000
"""Sets of arguments of which a class remembers what the platform made of them."""

_HOME: Final = "_afield_service"
"""Attribute of an instance: the Function that stands for its containers."""


class Obj:
    """A class with its arguments. Its methods are Functions: `obj.method.remote(...)`; other attributes are local.

    Made by calling a Cls. Nothing is sent before a method is called.
    """

    def __init__(
        self,
        service: Function[..., Any, Any],
        name: str,
        *,
        hooks: Hooks | None = None,
        local: LocalObject | None = None,
        shown: str = "",
    ) -> None:
        self._afield_service = service
        self._afield_name = name
        self._afield_hooks = hooks
        self._afield_local = local
        self._afield_shown = shown or name

    @property
    def update_autoscaler(self) -> Any:
        """Change how many containers it may have; see `Function.update_autoscaler`. `.update_autoscaler.aio` is awaited."""
        return self._afield_service.update_autoscaler

    def __getattr__(self, name: str) -> Any:
        """Return a method as a Function; any other attribute from an instance made here."""
        if name.startswith(("__", "_afield")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        hooks, local = self._afield_hooks, self._afield_local
        if hooks is None or local is None:
            if name.startswith("_"):
                raise AttributeError(
                    f"{self._afield_name} was looked up, so it has no attribute {name!r} here"
                )
            method: Method[..., Any, Any] = Method(self._afield_service, self._afield_name, name)
        elif name in hooks.methods:
            known = hooks.methods[name]
            method = Method(
                self._afield_service, self._afield_name, name, known=known, local=partial(local.call, known)
            )
        else:
            return _attribute(local.instance, name, self._afield_name, hooks)
        self.__dict__[name] = method  # the next time it is found without coming here
        return method

    def __repr__(self) -> str:
        return self._afield_shown

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference; on the other side it is as if it had been looked up."""
        return Obj, (self._afield_service, self._afield_name)


def _attribute(instance: Any, name: str, class_name: str, hooks: Hooks) -> Any:
    try:
        return getattr(instance, name)
    except AttributeError as error:
        if error.name != name or error.obj is not instance:
            raise  # of the user's own: a property that failed
        hint = did_you_mean(name, {*dir(type(instance)), *vars(instance), *hooks.methods})
        raise AttributeError(f"{class_name} has no method or attribute {name!r}{hint}") from None


class Cls:
    """A class of an app. Made by `@app.cls()`, which puts it in the place of the class, or by `Cls.from_name`.

    Calling it makes an Obj. Class attributes are found through it, and classes can inherit from it as from the class.
    """

    def __init__(
        self, service: Function[..., Any, Any], user_cls: type | None = None, hooks: Hooks | None = None
    ) -> None:
        self._service = service
        self._user_cls = user_cls
        self._hooks = find_hooks(user_cls) if hooks is None and user_cls is not None else hooks
        self._variants: dict[bytes, Variant[..., Any, Any]] = {}
        if user_cls is not None:
            self.__name__ = user_cls.__name__
            self.__doc__ = user_cls.__doc__
            self.__module__ = user_cls.__module__
            self.__qualname__ = user_cls.__qualname__
            self.__wrapped__ = user_cls

    # -- looking up --

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: object | None = None,
    ) -> "Cls":
        """Return a class of a running or deployed app. It is looked up when one of its methods is first called.

        NotFoundError is raised then if there is none. Raises InvalidError for names that cannot exist.
        """
        for what, value in (("version", version), ("client", client)):
            if value is not None:
                raise UnimplementedError(f"the parameter `{what}` is not available yet")
        for what, value in (("an app", app_name), ("a class", name)):
            if not isinstance(value, str) or not is_object_name(value):
                raise InvalidError(
                    f"{what} is named with 1 to 64 letters, digits, '-', '_' and '.', got {value!r}"
                )
        ws = config.environment(environment_name)
        return Cls(Function(reference=FunctionRef(ws=ws, app_name=app_name, name=name)))

    # -- what it is --

    @property
    def app(self) -> "App":
        """The app that it was declared in. Raises InvalidError for a class that was looked up."""
        return self._service.app

    @property
    def object_id(self) -> str:
        """Its id (`cs-…`). Raises InvalidError before its app runs, or before it was first used."""
        return self._service.object_id

    @property
    def _name(self) -> str:
        return self._service._name

    def __repr__(self) -> str:
        return f"Cls({self._name!r})"

    # -- making objects --

    @trimmed
    def __call__(self, *args: Any, **kwargs: Any) -> Obj:
        """Return the class with these arguments. Each set of arguments has containers of its own.

        Raises InvalidError for arguments that the class does not take; for a class that was looked up, when a method
        is first called.
        """
        name, user_cls, hooks = self._name, self._user_cls, self._hooks
        declared = self._service._declared
        if declared is None or user_cls is None or hooks is None:
            given = Arguments(args, kwargs)
            return Obj(self._with(given), name, shown=_shown(name, given))
        params = encode_arguments(name, declared.spec.parameters, args, kwargs)
        service = self._with(params) if params else self._service
        local = LocalObject(user_cls, hooks, args, kwargs, partial(_settle_down, service=service))
        return Obj(service, name, hooks=hooks, local=local, shown=_shown(name, Arguments(args, kwargs)))

    def _with(self, params: bytes | Arguments) -> Variant[..., Any, Any]:
        """Return the Function for arguments, the same one for equal ones: so the platform is asked once."""
        key = params if isinstance(params, bytes) else freeze(self._name, *params)
        known = self._variants.get(key)
        if known is None:
            base = self._service
            options = base._options if isinstance(base, Variant) else None
            known = Variant(base._base if isinstance(base, Variant) else base, options=options, params=params)
            if len(self._variants) >= MOST_REMEMBERED:
                self._variants.pop(next(iter(self._variants)))
            self._variants[key] = known
        return known

    # -- other settings --

    @trimmed
    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | Sequence[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        volumes: Mapping[Any, Any] | None = None,
        retries: int | Retries | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: float | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
        **unknown: Never,
    ) -> "Cls":
        """Return the same class with other settings, and containers of its own. None: as it is.

        `env` is added to its variables. Raises InvalidError for values that make no sense.
        """
        _checked.refuse_renamed("Cls.with_options()", unknown)
        if unknown:
            each = next(iter(unknown))
            hint = did_you_mean(each, inspect.signature(Cls.with_options).parameters)
            raise TypeError(f"Cls.with_options() has no parameter {each!r}{hint}")
        options = parse_options(
            cpu=cpu, memory=memory, gpu=gpu, env=env, secrets=secrets, volumes=volumes, retries=retries,
            min_containers=min_containers, max_containers=max_containers, buffer_containers=buffer_containers,
            scaledown_window=scaledown_window, timeout=timeout, region=region, cloud=cloud,
            routing_region=routing_region,
        )  # fmt: skip
        return self._variant(options)

    @trimmed
    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> "Cls":
        """Return the same class with other numbers of inputs at once; see `afield.concurrent`."""
        return self._variant(concurrency_options(max_inputs, target_inputs))

    @trimmed
    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> "Cls":
        """Return the same class with another size of batches; see `afield.batched`."""
        return self._variant(batching_options(max_batch_size, wait_ms))

    def _variant(self, options: Options) -> "Cls":
        return Cls(self._service._variant(options), self._user_cls, self._hooks)

    def _amend(self, *, concurrency: Concurrency | None = None, batching: Batching | None = None) -> "Cls":
        """Say more of it, as a decorator above `@app.cls()` does."""
        if batching is not None:
            raise InvalidError(f"@afield.batched() decorates a function or method; {self._name} is a class")
        self._service._amend(concurrency=concurrency)
        return self

    # -- standing for the class --

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the class as it was written; methods need an object."""
        user_cls = self.__dict__.get("_user_cls")
        if user_cls is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = getattr(user_cls, name, self)
        if value is self:
            raise AttributeError(f"{self._name} has no attribute {name!r}{did_you_mean(name, dir(user_cls))}")
        if isinstance(value, PartialFunction):
            if value.in_class:
                raise AttributeError(
                    f"{self._name}.{name} is a method, so it needs an object: {self._name}().{name}"
                )
            return value.raw_f
        return value

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """Let a class inherit from it: from the class as it was written."""
        if self._user_cls is None:
            raise InvalidError(f"{self._name} was looked up, so no class can inherit from it")
        return (self._user_cls,)

    def __instancecheck__(self, instance: object) -> bool:
        """Tell whether something is an instance of the class as it was written."""
        return self._user_cls is not None and isinstance(instance, self._user_cls)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference; on the other side it is as if it had been looked up."""
        return Cls, (self._service,)


def _shown(name: str, given: Arguments) -> str:
    parts = [*map(repr, given.args), *(f"{key}={value!r}" for key, value in given.kwargs.items())]
    return f"{name}({', '.join(parts)})"


def is_parameter(value: object) -> bool:
    """Tell whether something is what `afield.parameter()` returns."""
    return isinstance(value, Parameter)


# -- instances ------------------------------------------------------------------------------------------


def adopt(instance: Any, record: FunctionRecord) -> None:
    """Say of an instance in a container whose it is, so that `self.method.remote()` goes to containers like its own."""
    ref = FunctionRef(ws=record.ws, function_id=record.function_id, name=record.spec.name)
    _settle_down(instance, service=Function(reference=ref))


def _settle_down(instance: Any, *, service: Function[..., Any, Any]) -> None:
    # An instance that takes no attributes (__slots__) goes without: its methods can be used with .local() only.
    if hasattr(instance, "__dict__"):
        instance.__dict__[_HOME] = service


def method_of_instance(
    partial_function: PartialFunction[..., Any, Any], instance: Any
) -> Method[..., Any, Any]:
    """Return `instance.method` for code of the class itself: `.local()` is the method, `.remote()` another container."""
    service = getattr(instance, "__dict__", {}).get(_HOME)
    known = method_of(partial_function)
    return Method(
        service,
        type(instance).__qualname__ if service is None else service._name,
        partial_function.name,
        known=known,
        local=partial(known.raw, instance),
    )
