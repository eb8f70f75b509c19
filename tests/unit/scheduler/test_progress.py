"""afield_scheduler.progress: a function of which nothing ends is slower than its mean says."""

from afield_scheduler.progress import LIVELY_S, MEANS, SLOW_S, Progress

QUICK = 0.001


def seen(*looks: tuple[float, int, int]) -> Progress:
    """Progress of function f after looks: time, floor, backlog."""
    progress = Progress()
    for now, floor, backlog in looks:
        progress.look("f", floor=floor, backlog=backlog, now=now)
    return progress


def test_function_of_which_nothing_ends_is_slow() -> None:
    """Nothing has ended since the inputs came: the mean of earlier ones is wrong."""
    progress = seen((0.0, 5, 0))
    progress.woken("f", 10.0)
    progress.look("f", floor=5, backlog=4, now=10.0)
    assert not progress.is_slow("f", QUICK, 10.0)
    progress.look("f", floor=5, backlog=4, now=10.0 + SLOW_S)
    assert progress.is_slow("f", QUICK, 10.0 + SLOW_S)
    assert not progress.is_slow("f", SLOW_S, 10.0 + SLOW_S)
    assert progress.is_slow("f", SLOW_S, 10.0 + MEANS * SLOW_S)


def test_end_of_any_input_is_progress() -> None:
    """Whether the oldest one ended or another one did; more inputs are none."""
    for floor, backlog in ((6, 4), (5, 3)):
        progress = seen((0.0, 5, 4), (1.0, floor, backlog))
        assert not progress.is_slow("f", QUICK, 1.0)
    assert seen((0.0, 5, 4), (1.0, 5, 6)).is_slow("f", QUICK, 1.0)
    assert not seen((0.0, 5, 4), (1.0, 5, 6), (2.0, 5, 5)).is_slow("f", QUICK, 2.0)


def test_function_without_inputs_is_not_slow() -> None:
    """Who has nothing to do ends nothing."""
    assert not Progress().is_slow("f", QUICK, 1e6)
    assert not seen((0.0, 5, 4), (1.0, 9, 0)).is_slow("f", QUICK, 1e6)


def test_crowded_function_is_looked_at_twice() -> None:
    """At once, and when it turns out whether anything ends; then as ever."""
    progress = seen((0.0, 5, 0))
    progress.woken("f", 10.0)
    assert progress.crowded("f", 10.0) == 10.0
    progress.look("f", floor=5, backlog=4, now=10.0)
    assert progress.next_look("f", QUICK, 10.0) == 10.0 + SLOW_S
    progress.look("f", floor=5, backlog=4, now=10.0 + SLOW_S)
    assert progress.next_look("f", QUICK, 10.0 + SLOW_S) is None


def test_crowded_function_that_gets_on_is_looked_at_once() -> None:
    """Where something was seen to end just now, one look tells whether that is still so."""
    progress = seen((0.0, 5, 9), (1.0, 8, 9))
    assert progress.crowded("f", 1.01) == 1.0 + SLOW_S
    assert progress.crowded("f", 1.05) == 1.05
    progress.look("f", floor=9, backlog=9, now=1.05)
    assert progress.next_look("f", QUICK, 1.05) is None
    assert progress.crowded("f", 1.05 + LIVELY_S) == 1.05 + LIVELY_S
    progress.look("f", floor=12, backlog=9, now=1.05 + LIVELY_S)
    assert progress.next_look("f", QUICK, 1.05 + LIVELY_S) == 1.05 + LIVELY_S + SLOW_S


def test_function_that_is_gone_is_forgotten() -> None:
    """Nothing is left of it."""
    progress = seen((0.0, 5, 9), (1.0, 8, 9))
    progress.forget("f")
    assert not progress.is_slow("f", QUICK, 1e6)
