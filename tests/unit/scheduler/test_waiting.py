"""afield_scheduler.waiting: reasons are told once, and again when it matters."""

from afield_scheduler.waiting import CHANGED_S, REPEAT_S, Complaints


def test_a_reason_is_told_once_and_repeated_rarely() -> None:
    """The first time, then after half a minute."""
    complaints = Complaints()
    assert complaints.note("f", "full", 0.0)
    assert not complaints.note("f", "full", REPEAT_S - 1)
    assert complaints.note("f", "full", REPEAT_S)


def test_a_changed_reason_is_told_soon() -> None:
    """Another reason is news, but not every instant."""
    complaints = Complaints()
    complaints.note("f", "1 core free", 0.0)
    assert not complaints.note("f", "2 cores free", CHANGED_S / 2)
    assert complaints.note("f", "3 cores free", CHANGED_S)
    assert complaints.reasons == {"f": "3 cores free"}


def test_who_does_not_wait_is_not_listed() -> None:
    """An empty reason settles the matter; the next one is news again."""
    complaints = Complaints()
    complaints.note("f", "full", 0.0)
    assert not complaints.note("f", "", 1.0)
    assert complaints.functions() == set()
    assert complaints.note("f", "full", 2.0)
