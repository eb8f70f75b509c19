"""App: functions that belong together, and their runs."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import (
    Any,
    Final,
    NamedTuple,
    Never,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    dataclass_transform,
)

from afield import _checked
from afield._app_decorators import ClassDecorator, EntrypointDecorator, FunctionDecorator
from afield._app_lookup import Lookup
from afield._app_run import AppRun
from afield._context import is_remote
from afield._declare import declare, is_interactive
from afield._declare_class import declare_class
from afield._parameter import parameter
from afield._running import Running
from afield._suggest import did_you_mean
from afield._sync import faces
from afield._trim import TRIMMED
from afield._wire.api import APP_GET, APP_STOP, AppRef
from afield._wire.ids import is_object_name
from afield.cls import Cls
from afield.exception import InvalidError, UnimplementedError
from afield.function import Function
from afield.image import Image
from afield.local_entrypoint import LocalEntrypoint
from afield.retries import Retries

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - see afield.function

_EMPTY: Final[Mapping[Any, Any]] = {}


class Remote(NamedTuple):
    """The app that this process runs for, in a container."""

    app_id: str
    ws: str


class App:
    """A group of functions that run together.

    `name`: shown in listings, 1 to 64 of `A-Z a-z 0-9 - _ .`. `tags`: up to you. `image`: for functions that name
    none. `include_source`: whether the source that functions are defined in goes along; a function can say otherwise.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Any] = (),
        volumes: Mapping[Any, Any] = _EMPTY,
        include_source: bool = True,
    ) -> None:
        if name is not None and (not isinstance(name, str) or not is_object_name(name)):
            raise InvalidError(
                f"an app is named with 1 to 64 letters, digits, '-', '_' and '.', and not like an app id; got {name!r}"
            )
        if secrets:
            raise UnimplementedError(
                "the parameter `secrets` of App is not available yet: use env= of functions"
            )
        if volumes:
            raise UnimplementedError("the parameter `volumes` of App is not available yet")
        if image is not None and not isinstance(image, Image):
            raise InvalidError(f"expected image to be an afield.Image, got {type(image).__name__}")
        self._name = name
        self._description: str | None = None
        self._tags = _checked_tags(tags or {})
        self._image = image
        self._include_source = include_source
        self._functions: dict[str, Function[..., Any, Any]] = {}
        """Functions, and for each class the Function that stands for its containers."""
        self._classes: dict[str, Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._running: Running | None = None
        self._remote: Remote | None = None
        self._app_id: str | None = None

    # -- what it is --

    @property
    def name(self) -> str | None:
        """The name that it was given, or None."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its id (`ap-…`) once it has been run, also afterwards; else None."""
        return self._remote.app_id if self._remote is not None else self._app_id

    @property
    def description(self) -> str | None:
        """What listings show: its name, unless set to something else."""
        return self._description or self._name

    @description.setter
    def description(self, text: str) -> None:
        self._description = text

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """Its functions by name."""
        return {name: each for name, each in self._functions.items() if name not in self._classes}

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """Its local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """Its classes by name."""
        return dict(self._classes)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Names of its web endpoints: none, as they are not available yet."""
        return []

    def __repr__(self) -> str:
        return f"App({self._name!r})" if self._name else "App()"

    # -- declaring --

    def function(
        self,
        *unexpected: Any,
        image: Image | None = None,
        schedule: Any = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        gpu: str | Sequence[str] | None = None,
        serialized: bool = False,
        network_file_systems: Mapping[Any, Any] = _EMPTY,
        volumes: Mapping[Any, Any] = _EMPTY,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: Any = None,
        retries: int | Retries | None = None,
        timeout: float = 300,
        startup_timeout: float | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
        max_inputs: int | None = None,
        **unknown: Never,
    ) -> FunctionDecorator:
        """Make a function one that runs in containers: `@app.function()` above its definition.

        - `image`, `env` (variables; None leaves one out), `gpu` (`"A100:2"`, or several in order of preference)
        - `cpu` (cores, default 0.125) and `memory` (MiB, default 128): reserved; a pair is (reserved, limit)
        - `min_containers`, `max_containers`, `buffer_containers` (idle ones under load), `scaledown_window`
          (seconds that an idle container stays, 2 to 3600, default 60), `single_use_containers` (one input each)
        - `retries`: a number (1 s apart) or Retries; `timeout`: seconds per attempt, 1 to 86,400;
          `startup_timeout`: seconds to load the code, the same unless given
        - `name`: within the app, the function's own unless given; `is_generator`: for a function that returns one
        - `serialized`: send it by value, with what it refers to; for functions that no module defines
        - `include_source`: whether its source goes along, as the app says unless given
        - `enable_memory_snapshot`: containers begin as copies of one that has loaded the code, where that is possible
        - `cloud`, `region`, `nonpreemptible`: only on workers with these labels; `routing_region` has no effect

        Raises InvalidError for values that make no sense; UnimplementedError, naming the parameter, for the others.
        """
        parameters = {k: v for k, v in locals().items() if k not in ("self", "unexpected", "unknown")}
        if unexpected:
            raise InvalidError("`@app.function` takes parentheses: write `@app.function()`")
        _checked.refuse_renamed("@app.function()", unknown)
        for each in unknown:
            hint = did_you_mean(each, parameters)
            raise TypeError(f"@app.function() has no parameter {each!r}{hint}")
        parameters["image"] = image or self._image

        def decorate(function: Any) -> Any:
            if isinstance(function, Function):
                raise InvalidError(f"{function!r} is decorated with @app.function() twice")
            if isinstance(function, Cls):
                raise InvalidError(
                    f"{function!r} is a class of an app already; @app.function() is for functions"
                )
            if isinstance(function, LocalEntrypoint):
                raise InvalidError(
                    f"{function.name} is a local entrypoint, which runs here, so it cannot be decorated with "
                    f"@app.function(), too: leave one of the two away"
                )
            with TRIMMED:
                made: Function[..., Any, Any] = Function(app=self, declared=declare(function, parameters))
                self._add(made)
            return made

        return cast("FunctionDecorator", decorate)

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(
        self,
        *unexpected: Any,
        image: Image | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        gpu: str | Sequence[str] | None = None,
        serialized: bool = False,
        network_file_systems: Mapping[Any, Any] = _EMPTY,
        volumes: Mapping[Any, Any] = _EMPTY,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: Any = None,
        retries: int | Retries | None = None,
        timeout: float = 300,
        startup_timeout: float | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
        max_inputs: int | None = None,
        **unknown: Never,
    ) -> ClassDecorator:
        """Make a class one whose methods run in containers: `@app.cls()` above its definition.

        Its methods are those with `@afield.method()`. An instance is made once in a container; methods with
        `@afield.enter()` run before its first input, those with `@afield.exit()` after its last.
        What stands at the name of the class is a Cls. The parameters are those of `App.function`.

        Raises InvalidError for classes and values that make no sense; UnimplementedError, naming the parameter, for
        what is not available yet.
        """
        parameters = {k: v for k, v in locals().items() if k not in ("self", "unexpected", "unknown")}
        if unexpected:
            raise InvalidError("`@app.cls` takes parentheses: write `@app.cls()`")
        _checked.refuse_renamed("@app.cls()", unknown)
        for each in unknown:
            hint = did_you_mean(each, parameters)
            raise TypeError(f"@app.cls() has no parameter {each!r}{hint}")
        parameters["image"] = image or self._image

        def decorate(cls: Any) -> Any:
            if isinstance(cls, Cls):
                raise InvalidError(f"{cls!r} is decorated with @app.cls() twice")
            if isinstance(cls, Function):
                raise InvalidError(f"{cls!r} is a function of an app already; @app.cls() is for classes")
            with TRIMMED:
                declared, hooks = declare_class(cls, parameters)
                service: Function[..., Any, Any] = Function(app=self, declared=declared)
                self._add(service)
                made = Cls(service, declared.raw_f, hooks)  # type: ignore[arg-type]  # a class, which declare_class checks
                self._classes[declared.name] = made
            return made

        return cast("ClassDecorator", decorate)

    def _add(self, function: Function[..., Any, Any]) -> None:
        old = self._functions.get(function._name)
        if old is not None and not is_interactive(function.raw_f) and not _same_source(old, function):
            kinds = {inspect.isclass(each.raw_f) for each in (old, function)}
            what = (
                "a function and a class"
                if len(kinds) > 1
                else "two classes"
                if True in kinds
                else "two functions"
            )
            fix = ", or pass name=... to its @app.function()" if False in kinds else ""
            raise InvalidError(
                f"{self!r} has {what} named {function._name!r}, at {_place(old)} and at {_place(function)}: "
                f"rename one of them{fix}"
            )
        self._functions[function._name] = function
        self._classes.pop(function._name, None)

    def local_entrypoint(self, *unexpected: Any, name: str | None = None) -> EntrypointDecorator:
        """Make a function the one that `afield run` runs here, while the app runs. `name`: its own unless given."""
        if unexpected:
            raise InvalidError("`@app.local_entrypoint` takes parentheses: write `@app.local_entrypoint()`")

        def decorate(function: Callable[P, R], /) -> LocalEntrypoint[P, R]:
            if not callable(function):
                raise InvalidError(f"@app.local_entrypoint() decorates a function, not {function!r}")
            chosen = name if name is not None else function.__qualname__
            if chosen in self._entrypoints and not is_remote():
                raise InvalidError(f"{self!r} has two local entrypoints named {chosen!r}")
            made = LocalEntrypoint(function, self, chosen)
            self._entrypoints[chosen] = made
            return made

        return decorate

    def include(self, other_app: "App", inherit_tags: bool = True) -> Self:
        """Take over the functions and classes of another app, and its tags (ours win). Returns this app.

        Raises InvalidError when both have one of the same name.
        """
        for function in other_app._functions.values():
            self._add(function)
        self._classes.update(other_app._classes)
        if inherit_tags:
            self._tags = {**other_app._tags, **self._tags}
        return self

    # -- running --

    def run(
        self,
        *,
        name: str | None = None,
        client: object | None = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AppRun:
        """Run the app for as long as a `with` or `async with` block lasts; its functions can be called inside.

        `name` replaces the app's for this run. `detach` leaves the app running when the block, or this process, ends.
        Raises InvalidError when the app runs already, and in containers.
        """
        if client is not None:
            raise UnimplementedError("the parameter `client` of App.run is not available yet")
        if interactive:
            raise UnimplementedError("the parameter `interactive` of App.run is not available yet")
        if name is not None and not is_object_name(name):
            raise InvalidError(
                f"an app is named with 1 to 64 letters, digits, '-', '_' and '.', got {name!r}"
            )
        return AppRun(self, name=name, detach=detach, environment_name=environment_name)

    @faces
    async def stop(self, *, client: object | None = None) -> None:
        """Stop the app: its containers end, calls under way fail. Raises InvalidError when it does not run."""
        if client is not None:
            raise UnimplementedError("the parameter `client` of App.stop is not available yet")
        running = self._running
        if running is None:
            raise InvalidError(f"{self!r} does not run, so it cannot be stopped")
        here = await running.uplink.client()
        reason = "its client asked for it"
        await here.request(APP_STOP, AppRef(ws=running.ws, app_id=running.app_id, reason=reason))
        running.lost(reason)

    @faces
    async def get_tags(self, *, client: object | None = None) -> dict[str, str]:
        """Return its tags: of the running app as the platform knows them, else as declared."""
        if client is not None:
            raise UnimplementedError("the parameter `client` of App.get_tags is not available yet")
        running = self._running
        if running is None:
            return dict(self._tags)
        here = await running.uplink.client()
        return (await here.request(APP_GET, AppRef(ws=running.ws, app_id=running.app_id))).tags

    @faces
    async def set_tags(self, tags: Mapping[str, str], *, client: object | None = None) -> None:
        """Replace all its tags, for the next run."""
        if client is not None:
            raise UnimplementedError("the parameter `client` of App.set_tags is not available yet")
        if self._running is not None:
            raise UnimplementedError(
                "the tags of a running app cannot be changed yet: set them before it runs"
            )
        self._tags = _checked_tags(tags)

    # -- looking up and not yet --

    lookup: Lookup

    def deploy(self, **_options: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(
            "App.deploy() is not available yet: use `app.run()`, or `app.run(detach=True)`"
        )

    def server(self, *_args: Any, **_options: Any) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError("@app.server() is not available yet: use @app.function()")

    # -- inside --

    def _is_here(self) -> bool:
        return self._running is not None and self._running.uplink.is_here()

    def _begin(self, running: Running) -> None:
        self._running = running
        self._app_id = running.app_id

    def _unbind(self) -> None:
        for function in self._functions.values():
            function._bind(None)

    def _end(self) -> None:
        self._unbind()
        self._running = None

    def _bind_remote(self, app_id: str, ws: str) -> None:
        """Say which app this is, in a container: its functions are then looked up when they are called."""
        self._remote = Remote(app_id, ws)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a name and an id: what is sent by value may refer to its app."""
        known = self._remote or self._running
        return _refer, (self._name, known.app_id if known else "", known.ws if known else "")


def _refer(name: str | None, app_id: str, ws: str) -> App:
    app = App(name)
    if app_id:
        app._bind_remote(app_id, ws)
    return app


App.lookup = Lookup()


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise InvalidError(f"expected tags to be a dict of strings, got {key!r}: {value!r}")
    return dict(tags)


def _same_source(one: Function[..., Any, Any], other: Function[..., Any, Any]) -> bool:
    """Tell whether two functions are the same definition, come to be made twice: a module imported again."""
    return _place(one) == _place(other) and one.__qualname__ == other.__qualname__


def _place(function: Function[..., Any, Any]) -> str:
    """Return where a function is defined: file and line, or its full name where there is no code to ask."""
    raw: Any = function.raw_f
    if inspect.isclass(raw):  # a class does not say where it stands, but its functions do
        members = (getattr(each, "raw_f", each) for each in vars(raw).values())
        raw = next((each for each in members if inspect.isfunction(each)), raw)
    code = getattr(inspect.unwrap(raw), "__code__", None)
    if code is None:
        return f"{function.__module__}.{function.__qualname__}"
    return f"{code.co_filename}:{code.co_firstlineno}"
