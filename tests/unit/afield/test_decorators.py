"""`enter`, `exit`, `method`, `concurrent` and `batched`: what they say, and what they refuse."""

from typing import Any

import pytest

import afield
from afield import App
from afield._wire.functions import Batching, Concurrency
from afield.exception import InvalidError
from afield.partial_function import PartialFunction


def plain(self: Any, x: Any) -> Any: ...


def alone(self: Any) -> None: ...


def stream(self: Any) -> Any:
    yield 1


def test_what_was_said_is_kept() -> None:
    """In any order of decorators."""
    one: Any = afield.batched(max_batch_size=4, wait_ms=10)(afield.method()(plain))
    other: Any = afield.method()(afield.batched(max_batch_size=4, wait_ms=10)(plain))

    assert one == other
    assert (one.raw_f, one.is_method, one.batching) == (plain, True, Batching(max_batch_size=4, wait_ms=10))


def test_hooks_say_when() -> None:
    """Snapshots hold what enters early."""
    made: Any = [decorator(alone) for decorator in (afield.enter(), afield.enter(snap=True), afield.exit())]

    assert [(each.enter, each.exit) for each in made] == [("always", False), ("snap", False), ("", True)]
    assert all(each.is_hook for each in made)


def test_concurrency_has_a_target() -> None:
    """The most, unless given."""
    made: Any = afield.concurrent(max_inputs=10, target_inputs=4)(plain)

    assert made.concurrency == Concurrency(max_inputs=10, target_inputs=4)
    assert Concurrency(max_inputs=10).target == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: afield.concurrent(), "max_inputs"),
        (lambda: afield.concurrent(max_inputs=0), "max_inputs.*got 0"),
        (lambda: afield.concurrent(max_inputs=True), "max_inputs"),
        (lambda: afield.concurrent(max_inputs=1001), "1 to 1,000"),
        (lambda: afield.concurrent(max_inputs=2, target_inputs=3), "above max_inputs"),
        (lambda: afield.concurrent(max_inputs=2, target_inputs=0), "target_inputs"),
        (lambda: afield.batched(max_batch_size=0, wait_ms=1), "max_batch_size.*1 to 1,000"),
        (lambda: afield.batched(max_batch_size=1001, wait_ms=1), "max_batch_size"),
        (lambda: afield.batched(max_batch_size=1, wait_ms=-1), "wait_ms.*0 to 600,000"),
        (lambda: afield.batched(max_batch_size=1, wait_ms=600_001), "wait_ms"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any, message: str) -> None:
    """The message names the number."""
    with pytest.raises(InvalidError, match=message):
        make()


@pytest.mark.parametrize("name", ["method", "enter", "exit", "concurrent"])
def test_parentheses_are_required(name: str) -> None:
    """A bare decorator is told how to write it."""
    with pytest.raises(InvalidError, match=rf"@afield\.{name}\(\.\.\.\)"):
        getattr(afield, name)(plain)
    with pytest.raises(InvalidError, match="by name only"):
        getattr(afield, name)(3)


@pytest.mark.parametrize(
    ("decorate", "thing", "message"),
    [
        (afield.method(), 3, "decorates a function"),
        (afield.method(), staticmethod(plain), "staticmethod"),
        (afield.method(), int, "int is a class"),
        (afield.batched(max_batch_size=1, wait_ms=1), int, "int is a class"),
        (afield.enter(), plain, "is a hook.*it takes x"),
        (afield.exit(), lambda: None, "not even that"),
        (afield.enter(), stream, "is a generator"),
        (afield.enter(), PartialFunction(alone, is_method=True), "makes a hook of alone"),
        (afield.method(), PartialFunction(alone, enter="always"), "alone is an enter or exit hook"),
        (afield.concurrent(max_inputs=2), PartialFunction(alone, exit=True), "enter or exit hook"),
        (afield.method(), App().function(serialized=True)(plain), "in the body of a class"),
    ],
)
def test_what_a_decorator_is_not_for(decorate: Any, thing: Any, message: str) -> None:
    """It says what it is for."""
    with pytest.raises(InvalidError, match=message):
        decorate(thing)


@pytest.mark.parametrize("name", ["concurrent", "batched"])
def test_below_and_above_an_app_are_the_same(name: str) -> None:
    """Either order is written."""
    numbers: Any = {"max_inputs": 3} if name == "concurrent" else {"max_batch_size": 3, "wait_ms": 5}
    decorate: Any = getattr(afield, name)(**numbers)
    below: Any = App().function()(decorate(top_level))
    function: Any = App().function()(top_level)
    above = decorate(function)

    assert above is function
    assert below._declared.spec == above._declared.spec
    assert below._declared.spec.concurrency.max_inputs == (3 if name == "concurrent" else 1)


def top_level(x: Any) -> Any: ...


def with_default(x: Any, y: int = 1) -> Any: ...


def produce(x: Any) -> Any:
    yield x


@pytest.mark.parametrize(
    ("function", "message"), [(with_default, "no defaults: y"), (produce, "is a generator")]
)
def test_functions_that_cannot_be_batched(function: Any, message: str) -> None:
    """Whether the decorator stands above or below."""
    batched: Any = afield.batched(max_batch_size=2, wait_ms=1)
    with pytest.raises(InvalidError, match=message):
        App().function()(batched(function))
    with pytest.raises(InvalidError, match=message):
        batched(App().function()(function))


@pytest.mark.parametrize(
    ("partial", "message"),
    [
        (afield.enter()(alone), r"@afield\.enter\(\) is for methods of a class"),
        (afield.exit()(alone), r"@afield\.exit\(\) is for methods of a class"),
        (afield.method()(alone), r"is a method .* belongs to a class"),
    ],
)
def test_parts_of_classes_are_no_functions(partial: Any, message: str) -> None:
    """`@app.function()` refuses them."""
    with pytest.raises(InvalidError, match=message):
        App().function()(partial)


def test_one_input_a_container_and_several_at_once_exclude_each_other() -> None:
    """The numbers contradict."""
    several: Any = afield.concurrent(max_inputs=2)(top_level)
    with pytest.raises(InvalidError, match="single_use_containers"):
        App().function(single_use_containers=True)(several)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("serialized", "x"),
        ("single_use_containers", "no"),
        ("enable_memory_snapshot", 1),
        ("nonpreemptible", None),
        ("include_source", 3),
        ("is_generator", "x"),
    ],
)
def test_switches_are_true_or_false(name: str, value: Any) -> None:
    """A string that says no would be taken for yes."""
    parameters: dict[str, Any] = {"serialized": True, name: value}
    with pytest.raises(InvalidError, match=f"expected {name} to be True or False, got {value!r}"):
        App("a").function(**parameters)(plain)


def test_switches_of_decorators_are_true_or_false() -> None:
    """As those of functions."""
    with pytest.raises(InvalidError, match="expected snap to be True or False, got 3"):
        afield.enter(snap=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="expected is_generator to be True or False, got 'x'"):
        afield.method(is_generator="x")  # type: ignore[arg-type]
