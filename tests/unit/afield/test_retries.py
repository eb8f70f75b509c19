"""Tests of afield.retries."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import RetryPolicy
from afield.exception import InvalidError
from afield.retries import Retries, retry_delay, retry_policy


def test_defaults() -> None:
    """Only the number has to be given; delays double from one second up to a minute."""
    policy = retry_policy(Retries(max_retries=4))
    assert policy == RetryPolicy(max_retries=4, initial_delay=1.0, backoff_coefficient=2.0, max_delay=60.0)


def test_plain_number_means_fixed_delay() -> None:
    """`retries=3` is three retries, each after a second."""
    policy = retry_policy(3)
    assert [retry_delay(policy, n) for n in (1, 2, 3)] == [1.0, 1.0, 1.0]


def test_none_means_none() -> None:
    """Without `retries` nothing is tried again."""
    assert retry_policy(None).max_retries == 0


def test_delays_grow_to_the_maximum() -> None:
    """Each delay is the one before times the coefficient, at most max_delay."""
    policy = retry_policy(Retries(max_retries=5, backoff_coefficient=3.0, initial_delay=2.0, max_delay=20.0))
    assert [retry_delay(policy, n) for n in range(1, 5)] == [2.0, 6.0, 18.0, 20.0]


@given(st.integers(min_value=0, max_value=10**6), st.floats(1, 10), st.floats(0, 60), st.floats(1, 60))
def test_delay_stays_in_bounds(retry: int, coefficient: float, initial: float, most: float) -> None:
    """No retry, however late, waits for longer than max_delay."""
    policy = retry_policy(
        Retries(max_retries=1, backoff_coefficient=coefficient, initial_delay=initial, max_delay=most)
    )
    assert 0 <= retry_delay(policy, retry) <= most


@pytest.mark.parametrize(
    "values",
    [
        {"max_retries": -1},
        {"max_retries": 11},
        {"max_retries": True},
        {"max_retries": 1.5},
        {"max_retries": 1, "backoff_coefficient": 0.5},
        {"max_retries": 1, "backoff_coefficient": 10.5},
        {"max_retries": 1, "initial_delay": -1},
        {"max_retries": 1, "initial_delay": 61},
        {"max_retries": 1, "max_delay": 0.5},
        {"max_retries": 1, "max_delay": float("nan")},
        {"max_retries": 1, "max_delay": "60"},
    ],
)
def test_out_of_range(values: dict[str, Any]) -> None:
    """A value out of range is refused by its name, with the range and what came."""
    name = list(values)[-1]
    with pytest.raises(InvalidError, match=f"expected {name} to be .* from .* to .*, got "):
        Retries(**values)


@pytest.mark.parametrize("retries", [-1, 11, "3", 2.0, False])
def test_not_a_retries_argument(retries: Any) -> None:
    """What is neither a number in range nor a Retries is refused."""
    with pytest.raises(InvalidError, match="expected retries to be a whole number from 0 to 10"):
        retry_policy(retries)


def test_repr_reads_like_the_call() -> None:
    """The repr can be pasted back."""
    text = "Retries(max_retries=2, backoff_coefficient=1.5, initial_delay=0.0, max_delay=9.0)"
    assert repr(eval(text)) == text
