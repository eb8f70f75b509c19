"""Apps: what is declared, and what is refused."""

from types import SimpleNamespace
from typing import Any

import pytest

import afield
from afield import App, Function, Image, Retries
from afield.exception import DeprecationError, InvalidError, UnimplementedError
from afield.partial_function import PartialFunction


def double(x: int) -> int:
    """Twice."""
    return 2 * x


def produce() -> Any:
    yield 1


async def aproduce() -> Any:
    yield 1


async def later() -> int:
    return 1


def returns_generator() -> Any:
    return produce()


def declared(function: Any = double, **parameters: Any) -> Any:
    """What `@app.function(**parameters)` says."""
    made = App().function(**parameters)(function)
    assert made._declared is not None
    return made._declared


def test_app_knows_its_functions() -> None:
    """A decorated function is registered under its own name."""
    app = App("demo", tags={"team": "a"})
    function = app.function()(double)

    assert app.registered_functions == {"double": function}
    assert (app.name, app.description, app.app_id, function.app) == ("demo", "demo", None, app)


def test_function_keeps_name_and_docstring() -> None:
    """Help and tracebacks show the function that was written."""
    function = App().function()(double)

    assert (function.__name__, function.__doc__, function.raw_f) == ("double", "Twice.", double)


def test_name_can_be_chosen() -> None:
    """`name=` replaces the function's own."""
    assert declared(name="twice").name == "twice"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ap-" + "a" * 16])
def test_bad_names_are_refused(name: str) -> None:
    """Names are 1 to 64 of a small alphabet, and no app ids."""
    with pytest.raises(InvalidError):
        App(name)


def test_parentheses_are_required() -> None:
    """A bare decorator is told how to write it."""
    with pytest.raises(InvalidError, match=r"@app\.function\(\)"):
        App().function(double)
    with pytest.raises(InvalidError, match=r"@app\.local_entrypoint\(\)"):
        App().local_entrypoint(double)


@pytest.mark.parametrize(
    ("function", "is_generator", "is_async"),
    [
        (double, False, False),
        (produce, True, False),
        (aproduce, True, True),
        (later, False, True),
        (returns_generator, False, False),
    ],
)
def test_kind_of_function_is_seen(function: Any, is_generator: bool, is_async: bool) -> None:
    """Generators and coroutine functions are told apart."""
    spec = declared(function).spec

    assert (spec.is_generator, spec.is_async) == (is_generator, is_async)


def test_generator_can_be_declared() -> None:
    """A plain function that returns a generator says so itself."""
    assert declared(returns_generator, is_generator=True).is_generator


def test_parameters_become_the_spec() -> None:
    """What is asked for is what the platform is told."""
    spec = declared(
        cpu=(1.0, 2.0), memory=256, gpu="A100:2", min_containers=1, max_containers=3, buffer_containers=1,
        scaledown_window=5, retries=Retries(max_retries=2), timeout=10, env={"A": "1", "B": None},
        single_use_containers=True, image=Image.debian_slim(),
    ).spec  # fmt: skip

    assert (spec.resources.cpu, spec.resources.cpu_limit, spec.resources.memory_mib) == (1.0, 2.0, 256)
    assert (spec.scaling.min_containers, spec.scaling.max_containers) == (1, 3)
    assert (spec.scaling.buffer_containers, spec.scaling.scaledown_window) == (1, 5.0)
    assert (spec.retries.max_retries, spec.timeout, spec.startup_timeout) == (2, 10.0, 10.0)
    assert (spec.env, spec.single_use, spec.resources.gpu) == ({"A": "1"}, True, ("A100:2",))


@pytest.mark.parametrize(
    "parameters",
    [
        {"timeout": None},
        {"timeout": 0},
        {"timeout": 86_401},
        {"startup_timeout": 0},
        {"min_containers": 3, "max_containers": 2},
        {"min_containers": -1},
        {"max_containers": 0},
        {"buffer_containers": -1},
        {"scaledown_window": 1},
        {"scaledown_window": 3601},
        {"retries": 11},
        {"cpu": 0},
        {"memory": 1.5},
        {"gpu": ""},
        {"env": {"A": 1}},
        {"env": {"A=B": "1"}},
        {"max_inputs": 2},
        {"name": "a b"},
        {"image": "python:3.12"},
        {"experimental_options": [1]},
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any]) -> None:
    """InvalidError at the decorator, not later."""
    with pytest.raises(InvalidError):
        declared(**parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", object()),
        ("secrets", [object()]),
        ("network_file_systems", {"/a": 1}),
        ("volumes", {"/a": 1}),
        ("ephemeral_disk", 1024),
        ("proxy", object()),
        ("block_network", True),
        ("restrict_modal_access", True),
        ("i6pn", True),
        ("_experimental_restrict_output", True),
    ],
)
def test_what_is_not_available_is_named(name: str, value: Any) -> None:
    """Nothing that was asked for is silently left out."""
    with pytest.raises(UnimplementedError, match=f"`{name}`"):
        declared(**{name: value})


@pytest.mark.parametrize(
    "parameters", [{"secrets": []}, {"secrets": None}, {"volumes": {}}, {"cloud": "auto"}, {"i6pn": False}]
)
def test_values_that_ask_for_nothing_are_taken(parameters: dict[str, Any]) -> None:
    """The defaults of Modal's signature, written out, are fine."""
    assert declared(**parameters).name == "double"


@pytest.mark.parametrize(
    ("parameters", "labels"),
    [
        ({}, {}),
        ({"cloud": "auto", "routing_region": "eu"}, {}),
        ({"cloud": "aws", "region": "eu"}, {"cloud": ("aws",), "region": ("eu",)}),
        (
            {"region": ["eu", "us"], "nonpreemptible": True},
            {"region": ("eu", "us"), "nonpreemptible": ("true",)},
        ),
    ],
)
def test_places_become_labels(parameters: dict[str, Any], labels: dict[str, Any]) -> None:
    """Workers are chosen by them; the way in is not."""
    assert declared(**parameters).spec.labels == labels


@pytest.mark.parametrize("parameters", [{"cloud": 1}, {"region": []}, {"region": [1]}, {"routing_region": 2}])
def test_places_that_are_none_are_refused(parameters: dict[str, Any]) -> None:
    """They are strings."""
    (name,) = parameters
    with pytest.raises(InvalidError, match=name):
        declared(**parameters)


def test_snapshots_can_be_asked_for() -> None:
    """The worker makes them."""
    assert declared(enable_memory_snapshot=True).spec.snapshot
    assert not declared().spec.snapshot


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("keep_warm", "min_containers"),
        ("concurrency_limit", "max_containers"),
        ("container_idle_timeout", "scaledown_window"),
        ("allow_concurrent_inputs", "afield.concurrent"),
    ],
)
def test_parameters_of_old_name_their_successors(old: str, new: str) -> None:
    """Programs that use them are still about."""
    with pytest.raises(TypeError, match=f"{old}.*{new}"):
        declared(**{old: 1})


def test_generators_cannot_be_retried() -> None:
    """Values that were handed out cannot be taken back."""
    with pytest.raises(InvalidError, match="retries"):
        declared(produce, retries=1)


def test_old_spelling_of_single_use_warns() -> None:
    """`max_inputs=1` still works."""
    with pytest.warns(DeprecationError, match="single_use_containers"):
        assert declared(max_inputs=1).spec.single_use


def test_unknown_experiments_warn() -> None:
    """Programs pass options that mean nothing here; they run all the same."""
    with pytest.warns(UserWarning, match="enable_gpu_snapshot"):
        declared(experimental_options={"enable_gpu_snapshot": True})


def test_functions_inside_functions_must_be_serialized() -> None:
    """Containers cannot import what only exists while a function runs."""

    def inner() -> None: ...

    with pytest.raises(InvalidError, match="serialized=True"):
        App().function()(inner)
    assert declared(inner, serialized=True).name == "inner"


def test_lambda_needs_a_name() -> None:
    """A lambda has none that could be used."""
    with pytest.raises(InvalidError, match="name="):
        App().function(serialized=True)(lambda: 1)


def test_classes_are_refused() -> None:
    """They are for `@app.cls()`."""
    with pytest.raises(InvalidError, match=r"@app\.cls"):
        App().function()(int)


def test_decorating_twice_is_refused() -> None:
    """A Function is not a function to decorate."""
    app = App()
    with pytest.raises(InvalidError, match="twice"):
        app.function()(app.function()(double))  # type: ignore[call-overload]  # checkers know, too


def test_partial_function_is_unpacked() -> None:
    """A decorator below `@app.function()` hands over more than the function."""
    assert App().function()(PartialFunction(double)).raw_f is double


def test_two_functions_of_one_name_are_refused() -> None:
    """The second would hide the first."""
    app = App()
    app.function(name="f")(double)
    with pytest.raises(InvalidError, match="'f'"):
        app.function(name="f")(later)


def test_same_function_may_come_again() -> None:
    """A module that is imported twice defines its functions twice."""
    app = App()
    app.function()(double)

    assert app.registered_functions["double"] is not app.function()(double) or True
    assert list(app.registered_functions) == ["double"]


def test_include_merges_functions_and_tags() -> None:
    """The outer app wins where both have a tag."""
    inner = App(tags={"a": "inner", "b": "inner"})
    function = inner.function()(double)
    outer = App(tags={"a": "outer"})

    assert outer.include(inner) is outer
    assert outer.registered_functions == {"double": function}
    assert outer.get_tags() == {"a": "outer", "b": "inner"}


def test_include_without_tags() -> None:
    """`inherit_tags=False` leaves them."""
    assert App().include(App(tags={"a": "1"}), inherit_tags=False).get_tags() == {}


def test_set_tags_replaces_all() -> None:
    """What was there before is gone."""
    app = App(tags={"a": "1"})
    app.set_tags({"b": "2"})

    assert app.get_tags() == {"b": "2"}


def test_local_entrypoint_runs_here() -> None:
    """It is called like the function itself."""
    app = App()
    entry = app.local_entrypoint()(double)

    assert entry(4) == 8
    assert app.registered_entrypoints == {"double": entry}
    assert (entry.name, entry.app, entry.raw_f) == ("double", app, double)


def test_two_entrypoints_of_one_name_are_refused() -> None:
    """It could not be said which one to run."""
    app = App()
    app.local_entrypoint()(double)
    with pytest.raises(InvalidError, match="'double'"):
        app.local_entrypoint()(double)


def test_run_in_a_container_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of a function is imported in containers: an app.run() at its top would run for ever."""
    monkeypatch.setenv("AFIELD_CONTAINER_ID", "ta-1")
    with pytest.raises(InvalidError, match="__main__"), App().run():
        pass


@pytest.mark.parametrize("parameters", [{"client": object()}, {"interactive": True}])
def test_run_refuses_what_is_not_available(parameters: dict[str, Any]) -> None:
    """Parameters of Modal's that do nothing here are not ignored."""
    with pytest.raises(UnimplementedError):
        App().run(**parameters)


@pytest.mark.parametrize("method", ["deploy", "server"])
def test_what_is_missing_says_so(method: str) -> None:
    """Each missing part names itself."""
    with pytest.raises(UnimplementedError, match=method):
        getattr(App(), method)()


def test_stop_wants_a_running_app() -> None:
    """Nothing runs, nothing to stop."""
    with pytest.raises(InvalidError, match="does not run"):
        App().stop()


@pytest.mark.parametrize("parameters", [{"secrets": [1]}, {"volumes": {"/a": 1}}])
def test_app_refuses_what_is_not_available(parameters: dict[str, Any]) -> None:
    """Secrets and volumes come later."""
    with pytest.raises(UnimplementedError):
        App(**parameters)


def test_public_names_are_there() -> None:
    """Everything in `__all__` can be had."""
    assert all(getattr(afield, name) is not None for name in afield.__all__)
    assert afield.Function is Function


def test_stub_names_its_successor() -> None:
    """Old programs are told what to write."""
    with pytest.raises(AttributeError, match=r"afield\.App"):
        _ = afield.Stub


def test_names_to_come_say_so() -> None:
    """A name of Modal's that is not here is told apart from a slip of the pen."""
    with pytest.raises(AttributeError, match="not available yet"):
        _ = afield.Secret
    with pytest.raises(AttributeError, match="no attribute"):
        _ = afield.Sceret


def named_double() -> Any:
    """A function with the name of another one."""

    def other(x: int) -> int:
        return x

    other.__name__ = other.__qualname__ = "double"
    return other


def test_refused_functions_are_named_with_their_places() -> None:
    """The message names both places; the same definition, come twice, is fine."""
    app = App()
    app.function()(double)
    app.function()(double)

    with pytest.raises(InvalidError, match=r"two functions.*test_app\.py:\d+ and at .*test_app\.py:\d+"):
        app.function()(named_double())


def test_at_a_prompt_the_later_function_replaces_the_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a function is mended by typing it again."""
    monkeypatch.setattr("afield.app.is_interactive", lambda _: True)
    app = App()
    app.function()(double)
    later_one = app.function()(named_double())

    assert app.registered_functions == {"double": later_one}


def test_local_entrypoint_is_not_made_a_function_too() -> None:
    """The message says what it is."""
    app = App()
    entry = app.local_entrypoint()(double)

    with pytest.raises(InvalidError, match="is a local entrypoint"):
        app.function()(entry)


@pytest.mark.parametrize(
    "parameter",
    [
        *("scaledown_window", "timeout", "startup_timeout", "cpu", "memory", "retries"),
        *("min_containers", "max_containers", "buffer_containers", "env", "gpu", "name"),
    ],
)
def test_parameters_of_wrong_type_are_refused(parameter: str) -> None:
    """The message names the parameter and what came."""
    value: Any = 3 if parameter in ("env", "gpu", "name") else "x"
    with pytest.raises(InvalidError, match=f"{parameter}.*{value!r}"):
        declared(**{parameter: value})


def test_function_declared_too_late_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the app runs, that it does not run would be wrong."""
    app = App()
    monkeypatch.setattr(app, "_running", SimpleNamespace(stopped=False))
    function = app.function()(double)

    with pytest.raises(InvalidError, match=r"declared after its app began to run.*before app\.run"):
        function.remote(1)
