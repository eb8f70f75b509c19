"""afield_scheduler.strays: containers without a function are stopped soon, though not at first sight."""

from typing import Any

from afield_scheduler.crews import STOPPING_S, Placed
from afield_scheduler.strays import STRAY_S, Strays
from support.fleet import container


def stray(**changes: Any) -> Placed:
    return Placed("wk-1", container(**changes))


def test_stray_is_stopped_after_a_moment() -> None:
    """The news of its function may be late; a moment later it is to be stopped, once."""
    strays, one = Strays(), stray()
    assert strays.look([one], 100.0) == []
    assert strays.next_due() == 100.0 + STRAY_S
    assert strays.look([one], 100.0 + STRAY_S) == [one]
    assert strays.look([one], 101.0 + STRAY_S) == []
    assert strays.look([one], 100.0 + STRAY_S + STOPPING_S) == [one]


def test_container_whose_function_came_is_none() -> None:
    """Who is no stray any more starts over when it is one again."""
    strays, one = Strays(), stray()
    strays.look([one], 100.0)
    assert strays.look([], 100.1) == []
    assert strays.next_due() is None
    assert strays.look([one], 100.0 + STRAY_S) == []


def test_container_that_leaves_is_left_alone() -> None:
    """A stop that was asked for takes its time; only one that still runs something is told that this is over."""
    strays = Strays()
    leaving, busy = stray(state="stopping"), stray(container_id="ta-2", state="stopping", busy=1)
    strays.look([leaving, busy], 0.0)
    assert strays.look([leaving, busy], STRAY_S) == [busy]
