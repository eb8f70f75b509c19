"""`.with_options()` and its like, in the form of the wire."""

from typing import Any

import pytest

from afield import Retries
from afield._options import batching_options, concurrency_options, merged, parse_options
from afield._wire.functions import CodeRef, Concurrency, FunctionSpec, Options, RetryPolicy
from afield.exception import InvalidError, UnimplementedError


def test_nothing_said_is_nothing() -> None:
    """Everything is inherited."""
    assert parse_options() == Options()
    assert parse_options(env={"A": None}, secrets=[], volumes={}) == Options()


def test_what_is_said_is_checked_and_kept() -> None:
    """In the units of the wire."""
    options = parse_options(
        cpu=(1, 2), memory=512, gpu="H100", env={"A": "1"}, retries=2, timeout=9, max_containers=3,
        scaledown_window=5, buffer_containers=1, region="eu", cloud="aws", routing_region="eu",
    )  # fmt: skip

    assert options == Options(
        cpu=1.0, cpu_limit=2.0, memory_mib=512, gpu=("H100",), env={"A": "1"},
        retries=RetryPolicy(max_retries=2), timeout=9.0, max_containers=3, scaledown_window=5.0,
        buffer_containers=1, labels={"region": ("eu",), "cloud": ("aws",)},
    )  # fmt: skip
    assert parse_options(retries=Retries(max_retries=1)).retries == RetryPolicy(
        max_retries=1, backoff_coefficient=2.0
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"cpu": 0}, {"memory": "1"}, {"gpu": "?"}, {"env": 3}, {"retries": -1}, {"timeout": 0},
        {"max_containers": 0}, {"min_containers": 2, "max_containers": 1}, {"region": 1}, {"cloud": 2},
    ],
)  # fmt: skip
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(InvalidError):
        parse_options(**settings)


@pytest.mark.parametrize("name", ["secrets", "volumes"])
def test_what_is_not_available_is_named(name: str) -> None:
    """Nothing is left out in silence."""
    settings: dict[str, Any] = {name: ["x"]}
    with pytest.raises(UnimplementedError, match=name):
        parse_options(**settings)


def test_later_settings_win_and_variables_add_up() -> None:
    """Who says a reservation anew has said its limit, too."""
    old = parse_options(cpu=(1, 2), memory=(100, 200), env={"A": "1", "B": "1"}, timeout=5)
    new = parse_options(cpu=3, env={"B": "2"}, region="eu")

    assert merged(old, new) == Options(
        cpu=3.0, memory_mib=100, memory_limit_mib=200, env={"A": "1", "B": "2"}, timeout=5.0,
        labels={"region": ("eu",)},
    )  # fmt: skip
    assert merged(None, new) is new


def test_settings_said_one_after_another_apply_as_one() -> None:
    """Merging is the same as applying both in turn."""
    spec = FunctionSpec(name="f", code=CodeRef(module="m", qualname="f"), env={"Z": "0"})
    one = parse_options(cpu=(1, 2), env={"A": "1"}, max_containers=4, cloud="aws")
    two = parse_options(cpu=2, env={"A": "2"}, min_containers=2, region="eu")

    assert merged(one, two).applied(spec) == two.applied(one.applied(spec))


def test_concurrency_and_batching() -> None:
    """The numbers of the decorators."""
    assert concurrency_options(4, 2).concurrency == Concurrency(max_inputs=4, target_inputs=2)
    batching = batching_options(4, 10).batching
    assert batching is not None
    assert (batching.max_batch_size, batching.wait_ms) == (4, 10)
    with pytest.raises(InvalidError, match="max_inputs"):
        concurrency_options(0, None)
