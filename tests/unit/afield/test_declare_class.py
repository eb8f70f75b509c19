"""`@app.cls()`: what becomes of a class, and which classes are refused."""

from typing import Any

import pytest

import afield
from afield import App
from afield._wire.functions import Batching, MethodSpec
from afield.cls import Cls
from afield.exception import InvalidError, UnimplementedError


class Model:
    """A class."""

    size: int = afield.parameter(default=1)

    @afield.enter()
    def load(self) -> None: ...

    @afield.method()
    def run(self, x: int) -> int:
        return x

    @afield.method()
    async def walk(self) -> Any:
        yield 1


class Batched:
    @afield.batched(max_batch_size=8, wait_ms=20)
    def predict(self, xs: list[int]) -> list[int]:
        return xs


def declared(user_cls: Any = Model, **parameters: Any) -> Any:
    """What `@app.cls(**parameters)` says."""
    made: Any = App().cls(**parameters)(user_cls)
    return made._service._declared


def test_a_class_becomes_a_function_with_methods() -> None:
    """The platform sees one thing that has containers."""
    spec = declared().spec

    assert (spec.name, spec.is_class, spec.is_generator) == ("Model", True, False)
    assert spec.methods == {
        "run": MethodSpec(),
        "walk": MethodSpec(is_generator=True, is_async=True),
    }
    assert [parameter.name for parameter in spec.parameters] == ["size"]


def test_parameters_become_the_spec() -> None:
    """Those of functions."""
    spec = declared(
        cpu=2, timeout=5, enable_memory_snapshot=True, region="eu", min_containers=1, env={"A": "1"}
    ).spec

    assert (spec.resources.cpu, spec.timeout, spec.startup_timeout, spec.snapshot) == (2.0, 5.0, 5.0, True)
    assert (spec.labels, spec.scaling.min_containers, spec.env) == ({"region": ("eu",)}, 1, {"A": "1"})


def test_batching_is_the_one_methods() -> None:
    """It needs no further decorator."""
    spec = declared(Batched).spec

    assert spec.batching == Batching(max_batch_size=8, wait_ms=20)
    assert list(spec.methods) == ["predict"]


def test_concurrency_may_stand_above_and_below() -> None:
    """Both orders are written."""
    concurrent: Any = afield.concurrent(max_inputs=4)
    app = App()
    above: Any = concurrent(app.cls()(Model))

    assert declared(concurrent(Model)).spec.concurrency.max_inputs == 4
    assert above._service._declared.spec.concurrency.max_inputs == 4
    assert app.registered_classes == {"Model": above}


def test_the_app_knows_its_classes() -> None:
    """Apart from its functions."""
    app = App()
    made: Any = app.cls()(Model)

    assert isinstance(made, Cls)
    assert (app.registered_classes, app.registered_functions) == ({"Model": made}, {})
    assert (made.__name__, made.__doc__, made.app, made._user_cls) == ("Model", "A class.", app, Model)


def test_include_takes_classes_along() -> None:
    """As functions."""
    inner, outer = App(), App()
    made: Any = inner.cls()(Model)

    assert outer.include(inner).registered_classes == {"Model": made}


def test_a_function_and_a_class_of_one_name_are_refused() -> None:
    """They could not be told apart."""
    app = App()
    app.function(name="Model")(top_level)
    with pytest.raises(
        InvalidError, match=r"a function and a class named 'Model'.*test_declare_class\.py:\d+"
    ):
        app.cls()(Model)


def test_the_same_class_may_come_again() -> None:
    """A module that is imported twice defines its classes twice."""
    app = App()
    app.cls()(Model)
    again: Any = app.cls()(Model)

    assert app.registered_classes == {"Model": again}


def top_level() -> None: ...


def test_wrong_targets_are_refused() -> None:
    """The message says what they are for."""
    app = App()
    made: Any = app.cls()(Model)
    function: Any = app.function()(top_level)
    decorate: Any = app.cls()
    for target, message in (
        (made, "twice"), (function, "is a function of an app"), (top_level, r"use @app\.function"), (3, "not 3"),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match=message):
            decorate(target)
    for target, message in ((made, "is a class of an app"), (Model, r"use @app\.cls")):
        with pytest.raises(InvalidError, match=message):
            app.function()(target)


def test_parentheses_are_required() -> None:
    """A bare decorator is told how to write it."""
    app: Any = App()
    with pytest.raises(InvalidError, match=r"@app\.cls\(\)"):
        app.cls(Model)


@pytest.mark.parametrize("parameter", ["schedule", "name", "is_generator", "cpus"])
def test_parameters_that_classes_do_not_have(parameter: str) -> None:
    """Some that functions have mean nothing here."""
    with pytest.raises(TypeError, match=parameter):
        declared(**{parameter: None})


def test_parameters_that_are_not_available_are_named() -> None:
    """As for functions."""
    with pytest.raises(UnimplementedError, match=r"`proxy` of @app\.cls"):
        declared(proxy=object())


class Empty:
    def helper(self) -> None: ...


class BatchedAndMore(Batched):
    @afield.method()
    def other(self) -> None: ...


class BatchedDefault:
    @afield.batched(max_batch_size=2, wait_ms=1)
    def predict(self, xs: Any, y: int = 1) -> Any: ...


class ConcurrentMethod:
    @afield.concurrent(max_inputs=2)
    @afield.method()
    def run(self) -> None: ...


class Selfless:
    @afield.method()  # type: ignore[arg-type]  # the mistake is the point
    def run() -> None: ...


class Called:
    @afield.method()
    def __call__(self) -> None: ...


class Reserved:
    @afield.method()
    def update_autoscaler(self) -> None: ...


@pytest.mark.parametrize(
    ("user_cls", "message"),
    [
        (Empty, "no method that could be called"),
        (BatchedAndMore, "in batches, so it can have one method only; it has predict, other"),
        (BatchedDefault, "no defaults: y"),
        (ConcurrentMethod, "decorate ConcurrentMethod"),
        (Selfless, "`self`"),
        (Called, "Python's own"),
        (Reserved, "rename it"),
    ],
)
def test_classes_that_cannot_be_declared(user_cls: Any, message: str) -> None:
    """The message names the part at fault."""
    with pytest.raises(InvalidError, match=message):
        declared(user_cls)


def test_classes_inside_functions_must_be_serialized() -> None:
    """Containers cannot import them."""

    class Inner:
        @afield.method()
        def run(self) -> None: ...

    with pytest.raises(InvalidError, match="serialized=True"):
        declared(Inner)
    assert declared(Inner, serialized=True).serialized
