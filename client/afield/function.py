"""Function: a Python function that runs somewhere else."""

import inspect
from collections.abc import (
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
)

from afield import _checked, _rules, _scaling, config
from afield._declared import Declared
from afield._hydrate import Binding, by_reference
from afield._mapping_faces import ForEach, Map, SpawnMap, Starmap
from afield._options import batching_options, concurrency_options, parse_options
from afield._remote import Remote, Spawn
from afield._remote_gen_face import RemoteGenFace
from afield._suggest import did_you_mean
from afield._sync import faces
from afield._trim import trimmed
from afield._wire.api import FunctionRef
from afield._wire.functions import Batching, Concurrency, Options
from afield._wire.ids import is_object_name
from afield.exception import InvalidError, UnimplementedError
from afield.retries import Retries
from afield.types import FunctionAutoscalerSettings, FunctionCurrentStats

if TYPE_CHECKING:
    from afield.app import App

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the function itself returns: a coroutine, where R is what it is awaited for
Y = TypeVar("Y")


class Function(Generic[P, R, O]):
    """A function of an app. Made by `@app.function()`, `Function.from_name` or `Function.from_id`.

    `.remote(...)` runs it in a container and returns its result, `.local(...)` runs it here. Every method that waits
    has an asynchronous form, `.remote.aio(...)` and so on.
    """

    _method = ""
    """Of a class: the method that calls name; empty for a function."""

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
        self._bound: Binding | None = None
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
        binding = self._binding
        if binding is None:
            raise InvalidError(self._not_hydrated("it has no id yet"))
        return binding.record.function_id

    @property
    def is_generator(self) -> bool:
        """Whether it yields values. Of a function that was looked up, known after its first use."""
        if self._declared is not None:
            return self._declared.is_generator
        binding = self._binding
        return binding is not None and binding.record.spec.is_generator

    @property
    def _name(self) -> str:
        if self._declared is not None:
            return self._declared.name
        binding = self._binding
        if binding is not None:
            return binding.record.spec.name
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

    remote_gen = RemoteGenFace()
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

    if (
        not TYPE_CHECKING
    ):  # so checkers find the mistake, and a Function is none of the callables to overloads

        def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
            """Refuse: it must be said where to run."""
            raise InvalidError(
                f"{self._name} is a Function of afield, so say where it runs: {self._spelled}.remote(...) in a "
                f"container, {self._spelled}.local(...) here"
            )

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
    ) -> "Function[P, R, O]":
        """Return the same function with other settings, and containers of its own. None: as it is.

        `env` is added to its variables. Raises InvalidError for values that make no sense.
        """
        _checked.refuse_renamed("Function.with_options()", unknown)
        if unknown:
            each = next(iter(unknown))
            hint = did_you_mean(each, inspect.signature(Function.with_options).parameters)
            raise TypeError(f"Function.with_options() has no parameter {each!r}{hint}")
        options = parse_options(
            cpu=cpu, memory=memory, gpu=gpu, env=env, secrets=secrets, volumes=volumes, retries=retries,
            min_containers=min_containers, max_containers=max_containers, buffer_containers=buffer_containers,
            scaledown_window=scaledown_window, timeout=timeout, region=region, cloud=cloud,
            routing_region=routing_region,
        )  # fmt: skip
        return self._variant(options)

    @trimmed
    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> "Function[P, R, O]":
        """Return the same function with other numbers of inputs at once; see `afield.concurrent`."""
        return self._variant(concurrency_options(max_inputs, target_inputs))

    @trimmed
    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> "Function[P, R, O]":
        """Return the same function with another size of batches; see `afield.batched`."""
        return self._variant(batching_options(max_batch_size, wait_ms))

    @faces
    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
    ) -> FunctionAutoscalerSettings:
        """Change how many containers it may have, until its app is run or deployed again. None: as it is.

        Returns what holds now. Raises InvalidError for values that make no sense.
        """
        given = _checked.scaling(
            {
                "min_containers": min_containers,
                "max_containers": max_containers,
                "buffer_containers": buffer_containers,
                "scaledown_window": scaledown_window,
            }
        )
        return await _scaling.update(await self._hydrate(), given)

    @faces
    async def get_current_stats(self) -> FunctionCurrentStats:
        """Return how busy it is, as the platform last heard."""
        return await _scaling.stats(await self._hydrate())

    def get_web_url(self) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError("Function.get_web_url() is not available yet: there are no web endpoints")

    # -- inside --

    @property
    def _binding(self) -> Binding | None:
        """Its record, while that is known."""
        return self._bound

    @property
    def _is_known(self) -> bool:
        """Whether it is known what can be done with it."""
        return self._declared is not None or self._binding is not None

    @property
    def _spelled(self) -> str:
        """How it is written in a program."""
        return self._name

    def _is_here(self) -> bool:
        binding = self._binding
        return binding is not None and binding.uplink.is_here()

    def _variant(self, options: Options) -> "Function[P, R, O]":
        from afield._variant import Variant

        return Variant(self, options=options)

    def _amend(self, *, concurrency: Concurrency | None = None, batching: Batching | None = None) -> Self:
        """Say more of it, as a decorator above `@app.function()` does. Raises InvalidError once its app runs."""
        if self._declared is None or self._binding is not None:
            raise InvalidError(
                f"{self!r} is known to the platform already: use .with_concurrency() or .with_batching()"
            )
        spec = Options(concurrency=concurrency, batching=batching).applied(self._declared.spec)
        _rules.check(self._declared.raw_f, spec)
        self._declared = self._declared._replace(spec=spec)
        return self

    def _can_hydrate(self) -> bool:
        """Whether its record is known, or can be looked up."""
        return self._bound is not None or self._reference_now() is not None

    def _check_callable(self, method: str, *, generator: bool = False) -> None:
        """Raise InvalidError when it cannot be called with `method`, or not at all at this moment."""
        if not self._can_hydrate():
            raise InvalidError(self._not_hydrated(f".{method}() cannot be used"))
        if not self._is_known:
            return  # known once it has been looked up
        self._check_kind()
        if generator and not self.is_generator:
            raise InvalidError(
                f"{self._name} is not a generator: use {self._spelled}.remote() instead of .{method}()"
            )
        if not generator and self.is_generator:
            raise InvalidError(
                f"{self._name} is a generator: use {self._spelled}.remote_gen() instead of .{method}()"
            )

    def _check_kind(self) -> None:
        """Raise InvalidError when the record is none of a function."""
        binding = self._binding
        if binding is not None and binding.record.spec.is_class:
            record = binding.record
            raise InvalidError(
                f"{self._name} is a class: look it up with "
                f"afield.Cls.from_name({record.app_name!r}, {record.spec.name!r}) and call one of its methods"
            )

    def __getattr__(self, name: str) -> NoReturn:
        """Say what may have been meant: reached only for what is not there."""
        hint = "" if name.startswith("_") else did_you_mean(name, dir(type(self)))
        raise AttributeError(f"a Function of afield has no attribute {name!r}{hint}")

    def _not_hydrated(self, consequence: str) -> str:
        running = self._app._running if self._app is not None else None
        noun = (
            "class" if self._declared is not None and isinstance(self._declared.raw_f, type) else "function"
        )
        if running is not None and not running.stopped:
            return (
                f"{noun} {self._name!r} was declared after its app began to run, so {consequence}: "
                f"define it before app.run(), or run it here with .local()"
            )
        if running is not None and running.reason:
            return (
                f"{noun} {self._name!r} has not been hydrated, so {consequence}: its app does not run any more: "
                f"it was stopped ({running.reason})"
            )
        return (
            f"{noun} {self._name!r} has not been hydrated, so {consequence}: its app does not run. "
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
        if self._bound is None:
            reference = self._reference_now()
            if reference is None:
                raise InvalidError(self._not_hydrated("it cannot be called"))
            self._bound = await by_reference(reference)
        return self._bound

    def _bind(self, binding: Binding | None) -> None:
        self._bound = binding

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference: by id, or for a function of an app that is just starting by app and name."""
        binding = self._binding
        if binding is not None:
            record = binding.record
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
