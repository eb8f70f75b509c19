"""The earliest deadline."""

from math import inf

from afield_worker.alarm import Alarm


def test_the_earliest_moment_counts() -> None:
    """A later one does not postpone it."""
    alarm = Alarm()
    assert alarm.when == inf
    alarm.at(5.0)
    alarm.at(7.0)
    assert alarm.when == 5.0
