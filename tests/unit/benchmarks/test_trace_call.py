"""One call, hop by hop: what several observers noted becomes one table."""

import pytest

from benchmarks.figures import open_console
from benchmarks.probes import Clock, call_of
from benchmarks.trace_call import Call, combine, hops_table, medians

MS = 1_000_000
CALLS = [Call(0, 0, 9, 9, 9), Call(10 * MS, 13 * MS, 14 * MS, 15 * MS, 18 * MS)]
NOTES = {"fc-late": {"sent": 11 * MS, "woken": 17 * MS}, "fc-early": {"sent": 1}}
SEEN = [("delivered", "fc-late", 12 * MS), ("delivered", "fc-late", 90 * MS), ("delivered", "fc-other", 1)]


def test_calls_are_matched_with_what_was_noted_of_them() -> None:
    """In the order of their inputs; the warm-up is left out, and so are second deliveries and what others do."""
    assert combine(CALLS, NOTES, SEEN, warm_up=1) == {
        "called": [0],
        "sent": [1 * MS],
        "delivered": [2 * MS],
        "received": [3 * MS],
        "begins": [4 * MS],
        "ends": [5 * MS],
        "woken": [7 * MS],
        "returned": [8 * MS],
    }


def test_calls_that_nobody_noted_are_an_error() -> None:
    """A table of some of them would look like one of all."""
    with pytest.raises(RuntimeError, match="the messages of 1 calls, the client noted those of 2"):
        combine(CALLS[:1], NOTES, warm_up=0)


def test_a_hop_takes_what_has_passed_since_the_last_one_that_was_seen() -> None:
    """Those that nobody saw are skipped."""
    times = {"called": [0], "sent": [MS, 3 * MS, 2 * MS], "received": [5 * MS]}

    assert medians(times) == {
        "called": ("0.000", ""),
        "sent": ("2.000", "+2.000"),
        "received": ("5.000", "+3.000"),
    }


def test_hops_that_nobody_saw_are_empty() -> None:
    """The listener alone sees the server hand the input out."""
    console = open_console()
    alone = combine(CALLS, NOTES, warm_up=1)
    with console.capture() as said:
        console.print(hops_table(alone, combine(CALLS, NOTES, SEEN, warm_up=1)))
    lines = said.get().splitlines()

    delivered = next(line for line in lines if "goes to the worker" in line)
    assert delivered.split()[-2:] == ["2.000", "+1.000"]
    assert delivered.split().count("2.000") == 1


@pytest.mark.parametrize(
    ("subject", "call_id"),
    [
        ("in.0.main.fu-x.hi.fc-y.0-1.1", "fc-y"),
        ("res.0.main.se-x.fc-y.0-1", ""),
        ("$JS.API.INFO", ""),
    ],
)
def test_inputs_are_told_by_their_subject(subject: str, call_id: str) -> None:
    """All else that goes by is none."""
    assert call_of(subject) == call_id


def test_times_of_messages_become_times_of_the_host() -> None:
    """The clocks differ by a constant."""
    clock = Clock(offset_ns=1_000)

    assert clock.translate_ns(1_005) == 5
    assert clock.translate(2e-6) == 1_000
