"""afield_scheduler.waiting: reasons are told when they last, once, and again when it matters."""

from afield_scheduler.waiting import CHANGED_S, LASTS_S, REPEAT_S, Complaints


def test_a_moment_is_not_told() -> None:
    """Room is mostly made in milliseconds; who still waits a second later is told of, and is looked at then."""
    complaints = Complaints()
    assert not complaints.note("f", "full", 5.0)
    assert complaints.reasons == {"f": "full"}
    assert complaints.look_at("f") == 5.0 + LASTS_S
    assert not complaints.note("f", "still full", 5.0 + LASTS_S / 2)
    assert complaints.note("f", "full", 5.0 + LASTS_S)
    assert complaints.look_at("f") is None


def test_a_reason_is_told_once_and_repeated_rarely() -> None:
    """The first time, then after half a minute."""
    complaints = waiting()
    assert complaints.note("f", "full", 0.0)
    assert not complaints.note("f", "full", REPEAT_S - 1)
    assert complaints.note("f", "full", REPEAT_S)


def waiting() -> Complaints:
    """A function that has waited long enough to be told of."""
    complaints = Complaints()
    complaints.note("f", "full", -LASTS_S)
    return complaints


def test_a_changed_reason_is_told_soon() -> None:
    """Another reason is news, but not every instant."""
    complaints = waiting()
    assert complaints.note("f", "1 core free", 0.0)
    assert not complaints.note("f", "2 cores free", CHANGED_S / 2)
    assert complaints.note("f", "3 cores free", CHANGED_S)
    assert complaints.reasons == {"f": "3 cores free"}


def test_who_does_not_wait_is_not_listed() -> None:
    """An empty reason settles the matter; the next wait counts from its own beginning."""
    complaints = waiting()
    complaints.note("f", "full", 0.0)
    assert not complaints.note("f", "", 1.0)
    assert complaints.reasons == {}
    assert complaints.look_at("f") is None
    assert not complaints.note("f", "full", 2.0)
    assert complaints.note("f", "full", 2.0 + LASTS_S)
