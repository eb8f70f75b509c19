"""When the scheduler is told."""

from afield._wakes import PERIOD_S, Wakes


def test_first_wake_is_at_once() -> None:
    """A function that was quiet is told of immediately."""
    wakes = Wakes()

    assert wakes.touch("fu-1", 10.0, 3)
    assert wakes.take(10.0) == [("fu-1", 3)]


def test_further_wakes_wait_for_the_period() -> None:
    """A busy function is told of once a period, and the last touch is not lost."""
    wakes = Wakes()
    wakes.touch("fu-1", 10.0, 0)
    wakes.take(10.0)

    assert wakes.touch("fu-1", 10.01, 0)
    assert wakes.take(10.01) == []
    assert wakes.next_due == 10.0 + PERIOD_S
    assert wakes.take(10.0 + PERIOD_S) == [("fu-1", 0)]


def test_touches_between_are_one() -> None:
    """A function that already waits to be told of needs nothing more."""
    wakes = Wakes()
    wakes.touch("fu-1", 10.0, 0)

    assert not wakes.touch("fu-1", 10.0, 0)


def test_functions_do_not_delay_each_other() -> None:
    """The period is each function's own."""
    wakes = Wakes()
    wakes.touch("fu-1", 10.0, 0)
    wakes.take(10.0)
    wakes.touch("fu-2", 10.001, 1)

    assert wakes.take(10.001) == [("fu-2", 1)]
    assert wakes.next_due is None
