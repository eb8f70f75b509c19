"""Function: a Python function that runs somewhere else."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar, overload

from afield import config
from afield._hydrate import Binding, by_reference
from afield._mapping_faces import ForEach, Map, SpawnMap, Starmap
from afield._remote import Remote, RemoteGen, Spawn
from afield._suggest import did_you_mean
from afield._wire.api import FunctionRef
from afield._wire.functions import FunctionSpec
from afield._wire.ids import is_object_name
from afield.exception import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from afield.app import App

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the function itself returns: a coroutine, where R is what it is awaited for
Y = TypeVar("Y")


class Declared(NamedTuple):
    """What `@app.function(...)` said."""

    raw_f: Callable[..., Any]
    name: str
    is_generator: bool
    serialized: bool
    include_source: bool | None
    spec: FunctionSpec
    """Complete but for the code, which is found when the app runs."""


class _RemoteGenFace:
    """Gives `Function.remote_gen` the type of what the generator yields."""

    @overload
    def __get__(self, instance: None, owner: type) -> "_RemoteGenFace": ...
    @overload
    def __get__(
        self, instance: "Function[P, Generator[Y, Any, Any], Any]", owner: type
    ) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(
        self, instance: "Function[P, AsyncGenerator[Y, Any], Any]", owner: type
    ) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Iterator[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, AsyncIterator[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Iterable[Y], Any]", owner: type) -> RemoteGen[P, Y]: ...
    @overload
    def __get__(self, instance: "Function[P, Any, Any]", owner: type) -> RemoteGen[P, Any]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else RemoteGen(instance)


class Function(Generic[P, R, O]):
    """A function of an app. Made by `@app.function()`, `Function.from_name` or `Function.from_id`.

    `.remote(...)` runs it in a container and returns its result, `.local(...)` runs it here. Every method that waits
    has an asynchronous form, `.remote.aio(...)` and so on.
    """

    def __init__(
        self,
        *,
        app: "App | None" = None,
        declared: Declared | None = None,
        reference: FunctionRef | None = None,
    ) -> None:
        self._app = app
        self._declared = declared
        self._reference = reference
        self._binding: Binding | None = None
        if declared is not None:
            self.__name__ = declared.name
            self.__doc__ = declared.raw_f.__doc__
            self.__module__ = declared.raw_f.__module__
            self.__qualname__ = declared.raw_f.__qualname__
            self.__wrapped__ = declared.raw_f

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
    ) -> "Function[..., Any, Any]":
        """Return a function of a running or deployed app. It is looked up when it is first used.

        NotFoundError is raised then if there is none. Raises InvalidError for names that cannot exist.
        """
        _refuse("version", version)
        _refuse("client", client)
        for what, value in (("an app", app_name), ("a function", name)):
            if not is_object_name(value):
                raise InvalidError(
                    f"{what} is named with 1 to 64 letters, digits, '-', '_' and '.', got {value!r}"
                )
        ws = config.environment(environment_name)
        return Function(reference=FunctionRef(ws=ws, app_name=app_name, name=name))

    @classmethod
    def from_id(cls, function_id: str, *, client: object | None = None) -> "Function[..., Any, Any]":
        """Return the function with this id (`fu-…`). It is looked up when it is first used."""
        _refuse("client", client)
        if not function_id.startswith("fu-"):
            raise InvalidError(f"expected a function id like 'fu-k3j9x2abcd', got {function_id!r}")
        return Function(reference=FunctionRef(ws=config.environment(), function_id=function_id))

    # -- what it is --

    @property
    def app(self) -> "App":
        """The app that it was declared in. Raises InvalidError for a function that was looked up."""
        if self._app is None:
            raise InvalidError(f"{self!r} was looked up, so there is no App object for it here")
        return self._app

    @property
    def raw_f(self) -> Callable[P, O]:
        """The function as it was written. Raises InvalidError for a function that was looked up."""
        if self._declared is None:
            raise InvalidError(f"{self!r} was looked up, so its code is not here: use .remote()")
        return self._declared.raw_f

    def get_raw_f(self) -> Callable[P, O]:
        """Return the function as it was written."""
        return self.raw_f

    @property
    def object_id(self) -> str:
        """Its id (`fu-…`). Raises InvalidError before its app runs, or before it was first used."""
        if self._binding is None:
            raise InvalidError(self._not_hydrated("it has no id yet"))
        return self._binding.record.function_id

    @property
    def is_generator(self) -> bool:
        """Whether it yields values. Of a function that was looked up, known after its first use."""
        if self._declared is not None:
            return self._declared.is_generator
        return self._binding is not None and self._binding.record.spec.is_generator

    @property
    def _name(self) -> str:
        if self._declared is not None:
            return self._declared.name
        if self._binding is not None:
            return self._binding.record.spec.name
        assert self._reference is not None
        return self._reference.name or self._reference.function_id

    def __repr__(self) -> str:
        return f"Function({self._name!r})"

    # -- calling --

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run it here, as if it had never been decorated."""
        return self.raw_f(*args, **kwargs)

    @property
    def remote(self) -> Remote[P, R]:
        """Run it in a container, wait, and return its result; raises what it raised. `.remote.aio` is awaited."""
        return Remote(self)

    remote_gen = _RemoteGenFace()
    """Run a generator in a container and yield what it yields, as it comes. `.remote_gen.aio` for `async for`."""

    @property
    def spawn(self) -> Spawn[P, R]:
        """Start a call and return its FunctionCall at once: the result can be asked for later, from anywhere."""
        return Spawn(self)

    @property
    def map(self) -> Map[R]:
        """Call it for each input; several iterators are zipped. Lazy: nothing runs before the result is iterated."""
        return Map(self)

    @property
    def starmap(self) -> Starmap[R]:
        """As `map`, for an iterator of argument tuples."""
        return Starmap(self)

    @property
    def for_each(self) -> ForEach:
        """As `map`, waiting for all and dropping the results."""
        return ForEach(self)

    @property
    def spawn_map(self) -> SpawnMap[R]:
        """Start a call for each input and return one FunctionCall for all of them, without waiting for results."""
        return SpawnMap(self)

    experimental_spawn_map = spawn_map

    def __call__(self, *_args: P.args, **_kwargs: P.kwargs) -> NoReturn:
        """Refuse: it must be said where to run."""
        raise InvalidError(
            f"{self._name} is a Function of afield, so say where it runs: {self._name}.remote(...) in a container, "
            f"{self._name}.local(...) here"
        )

    # -- not yet --

    def with_options(self, **options: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(f"Function.with_options({', '.join(options)}) is not available yet")

    def with_concurrency(self, **options: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(f"Function.with_concurrency({', '.join(options)}) is not available yet")

    def with_batching(self, **options: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(f"Function.with_batching({', '.join(options)}) is not available yet")

    def update_autoscaler(self, **settings: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(f"Function.update_autoscaler({', '.join(settings)}) is not available yet")

    def get_web_url(self) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError("Function.get_web_url() is not available yet: there are no web endpoints")

    # -- inside --

    def _is_here(self) -> bool:
        return self._binding is not None and self._binding.uplink.is_here()

    def _check_callable(self, method: str, *, generator: bool = False) -> None:
        """Raise InvalidError when it cannot be called with `method`, or not at all at this moment."""
        if self._binding is None and self._reference_now() is None:
            raise InvalidError(self._not_hydrated(f".{method}() cannot be used"))
        if self._binding is None and self._declared is None:
            return  # known once it has been looked up
        if generator and not self.is_generator:
            raise InvalidError(
                f"{self._name} is not a generator: use {self._name}.remote() instead of .{method}()"
            )
        if not generator and self.is_generator:
            raise InvalidError(
                f"{self._name} is a generator: use {self._name}.remote_gen() instead of .{method}()"
            )

    def __getattr__(self, name: str) -> NoReturn:
        """Say what may have been meant: reached only for what is not there."""
        hint = "" if name.startswith("_") else did_you_mean(name, dir(type(self)))
        raise AttributeError(f"a Function of afield has no attribute {name!r}{hint}")

    def _not_hydrated(self, consequence: str) -> str:
        running = self._app._running if self._app is not None else None
        if running is not None and not running.stopped:
            return (
                f"function {self._name!r} was declared after its app began to run, so {consequence}: "
                f"define it before app.run(), or run it here with .local()"
            )
        return (
            f"function {self._name!r} has not been hydrated, so {consequence}: its app does not run. "
            f"Call it inside `with app.run():` or from a local entrypoint started with `afield run`, "
            f"or run it here with .local()"
        )

    def _reference_now(self) -> FunctionRef | None:
        """How to look it up, when it has no binding: as it was referred to, or in a container by its app."""
        if self._reference is not None:
            return self._reference
        remote = self._app._remote if self._app is not None else None
        if remote is None:
            return None
        return FunctionRef(ws=remote.ws, app_id=remote.app_id, name=self._name)

    async def _hydrate(self) -> Binding:
        """Return its binding, looking it up at the registry if need be. To be awaited on the portal's loop."""
        if self._binding is None:
            reference = self._reference_now()
            if reference is None:
                raise InvalidError(self._not_hydrated("it cannot be called"))
            self._binding = await by_reference(reference)
        return self._binding

    def _bind(self, binding: Binding | None) -> None:
        self._binding = binding

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference: by id, or for a function of an app that is just starting by app and name."""
        if self._binding is not None:
            record = self._binding.record
            return _refer, (record.ws, record.function_id, "", record.spec.name)
        reference = self._reference_now()
        running = self._app._running if self._app is not None else None
        if reference is None and running is not None:
            reference = FunctionRef(ws=running.ws, app_id=running.app_id, name=self._name)
        if reference is None:
            raise InvalidError(self._not_hydrated("it cannot be sent anywhere"))
        if reference.app_name:
            return Function.from_name, (reference.app_name, reference.name)
        return _refer, (reference.ws, reference.function_id, reference.app_id, reference.name)


def _refer(ws: str, function_id: str, app_id: str, name: str) -> "Function[..., Any, Any]":
    return Function(reference=FunctionRef(ws=ws, function_id=function_id, app_id=app_id, name=name))


def _refuse(name: str, value: object | None) -> None:
    if value is not None:
        raise UnimplementedError(f"the parameter `{name}` is not available yet")


def looks_like_generator(function: Callable[..., Any]) -> bool:
    """Tell whether calling `function` gives a generator, synchronous or not."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
