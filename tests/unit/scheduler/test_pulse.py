"""afield_scheduler.pulse: a worker's record counts while it is fresh, whatever the server still keeps."""

import pytest

from afield._wire.streams import WORKER_TTL
from afield_scheduler.pulse import CLOCKS_S, SILENT_S, Pulse


@pytest.mark.parametrize(
    ("age", "alive"),
    [(0.0, True), (-CLOCKS_S, True), (WORKER_TTL + CLOCKS_S, True), (WORKER_TTL + CLOCKS_S + 1, False)],
)
def test_record_that_should_have_lapsed_is_not_believed(age: float, alive: bool) -> None:
    """What was stored longer ago than a record may live, with room for clocks that differ, tells of nobody."""
    assert Pulse().heard("wk", 1, age=age, now=0.0) is alive


def test_record_that_is_not_renewed_is_silent() -> None:
    """A record that stands for longer than its time to live outlived its worker, however fresh it looked at first."""
    pulse = Pulse()
    pulse.heard("wk-1", 7, age=0.0, now=100.0)
    pulse.heard("wk-2", 8, age=0.0, now=100.0)
    assert pulse.silent(100.0 + SILENT_S - 0.1) == []
    pulse.heard("wk-2", 9, age=0.0, now=105.0)
    assert pulse.silent(100.0 + SILENT_S) == [("wk-1", 7)]


def test_worker_without_a_record_is_not_silent() -> None:
    """Who signed off is done with."""
    pulse = Pulse()
    pulse.heard("wk", 7, age=0.0, now=0.0)
    pulse.gone("wk")
    assert pulse.silent(1e6) == []
