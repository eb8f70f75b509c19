"""What must hold between settings."""

from collections.abc import Iterator
from typing import Any

import pytest

import afield
from afield._rules import check
from afield._wire.functions import (
    Batching,
    CodeRef,
    Concurrency,
    FunctionSpec,
    MethodSpec,
    RetryPolicy,
    Scaling,
)
from afield.exception import InvalidError

BATCHING = Batching(max_batch_size=2, wait_ms=1)


def plain(x: Any) -> Any: ...


def with_default(x: Any, y: int = 1) -> Any: ...


def without() -> Any: ...


def starred(x: Any, *more: Any) -> Any: ...


class Bare:
    @afield.method()
    def run(self) -> Any: ...


class One:
    @afield.method()
    def run(self, x: Any) -> Any: ...


class Two(One):
    @afield.method()
    def more(self) -> Any: ...


class Generates:
    @afield.method()
    def run(self) -> Iterator[int]:
        yield 1


class Defaults:
    @afield.method()
    def run(self, x: int = 1) -> Any: ...


def spec(**settings: Any) -> FunctionSpec:
    """A function with settings."""
    return FunctionSpec(name="f", code=CodeRef(module="m", qualname="f"), **settings)


@pytest.mark.parametrize(
    ("raw", "settings"),
    [
        (plain, {}),
        (plain, {"single_use": True, "batching": Batching(max_batch_size=1, wait_ms=0)}),
        (plain, {"batching": BATCHING, "concurrency": Concurrency(max_inputs=3)}),
        (plain, {"scaling": Scaling(min_containers=2, max_containers=2)}),
        (One, {"batching": BATCHING, "methods": {"run": MethodSpec()}}),
        (Two, {"concurrency": Concurrency(max_inputs=3)}),
    ],
)
def test_what_goes_together(raw: Any, settings: dict[str, Any]) -> None:
    """Nothing is raised."""
    check(raw, spec(**settings))


@pytest.mark.parametrize(
    ("raw", "settings", "message"),
    [
        (plain, {"scaling": Scaling(min_containers=3, max_containers=2)}, "above max_containers"),
        (plain, {"is_generator": True, "retries": RetryPolicy(max_retries=1)}, "retries"),
        (plain, {"is_generator": True, "batching": BATCHING}, "f is a generator"),
        (with_default, {"batching": BATCHING}, "no defaults: y"),
        (plain, {"single_use": True, "concurrency": Concurrency(max_inputs=2)}, "single_use_containers"),
        (plain, {"single_use": True, "batching": BATCHING}, "single_use_containers"),
        (Two, {"batching": BATCHING}, "one method only; it has run, more"),
        (Generates, {"batching": BATCHING}, r"f\.run is a generator"),
        (Defaults, {"batching": BATCHING}, "no defaults: x"),
        (without, {"batching": BATCHING}, "f is batched, so it must have a parameter"),
        (Bare, {"batching": BATCHING}, r"f\.run is batched, so it must have a parameter"),
        (starred, {"batching": BATCHING}, r"a list of \*more"),
    ],
)
def test_what_does_not(raw: Any, settings: dict[str, Any], message: str) -> None:
    """The message names it."""
    with pytest.raises(InvalidError, match=message):
        check(raw, spec(**settings))
