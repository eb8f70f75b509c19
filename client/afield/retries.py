"""Retries: when an input whose code raised an exception is tried again."""

import math
from typing import Final

from afield._trim import trimmed
from afield._wire.functions import RetryPolicy
from afield.exception import InvalidError

MOST_RETRIES: Final = 10
_FIXED_DELAY: Final = 1.0


class Retries:
    """How often, and after which delays, an input is tried again after an exception of the user's code.

    The delay before retry `n` (from 1) is `initial_delay * backoff_coefficient ** (n - 1)` seconds, at most `max_delay`.

    - `max_retries`: 0 to 10, besides the first attempt
    - `backoff_coefficient`: 1 (always the same delay) to 10
    - `initial_delay`: 0 to 60 seconds
    - `max_delay`: 1 to 60 seconds

    Raises InvalidError for values out of range.
    """

    @trimmed
    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        self.max_retries = _whole("max_retries", max_retries, 0, MOST_RETRIES)
        self.backoff_coefficient = _number("backoff_coefficient", backoff_coefficient, 1.0, 10.0)
        self.initial_delay = _number("initial_delay", initial_delay, 0.0, 60.0)
        self.max_delay = _number("max_delay", max_delay, 1.0, 60.0)

    def __repr__(self) -> str:
        return (
            f"Retries(max_retries={self.max_retries}, backoff_coefficient={self.backoff_coefficient}, "
            f"initial_delay={self.initial_delay}, max_delay={self.max_delay})"
        )


def retry_policy(retries: int | Retries | None) -> RetryPolicy:
    """Return the policy for the `retries` argument of a function: None is none, `n` is n times after 1 s each.

    Raises InvalidError for anything else.
    """
    if retries is None:
        return RetryPolicy()
    if isinstance(retries, Retries):
        return RetryPolicy(
            max_retries=retries.max_retries,
            initial_delay=retries.initial_delay,
            backoff_coefficient=retries.backoff_coefficient,
            max_delay=retries.max_delay,
        )
    return RetryPolicy(max_retries=_whole("retries", retries, 0, MOST_RETRIES), initial_delay=_FIXED_DELAY)


def retry_delay(policy: RetryPolicy, retry: int) -> float:
    """Return the seconds to wait before retry number `retry` (from 1)."""
    # 60 doublings are beyond any max_delay; the bound keeps the power from overflowing.
    growth = policy.backoff_coefficient ** min(max(retry, 1) - 1, 60)
    return min(policy.initial_delay * growth, policy.max_delay)


def _whole(name: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidError(f"expected {name} to be a whole number from {least} to {most}, got {value!r}")
    return value


def _number(name: str, value: object, least: float, most: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        raise InvalidError(f"expected {name} to be a number from {least:g} to {most:g}, got {value!r}")
    return float(value)  # type: ignore[arg-type]
