"""Delays between restarts."""

from afield_platform.backoff import Backoff


def test_what_dies_young_waits_longer_each_time() -> None:
    """The delay doubles up to its limit."""
    backoff = Backoff(first=0.1, most=1.0, settled=30)
    assert [backoff.delay(0.5) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_long_life_starts_over() -> None:
    """After a life that settled, the delay is the first one again."""
    backoff = Backoff(first=0.1, most=1.0, settled=30)
    for _ in range(5):
        backoff.delay(1)
    assert backoff.delay(30) == 0.1
    assert backoff.delay(1) == 0.2
