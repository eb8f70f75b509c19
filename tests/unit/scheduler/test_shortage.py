"""afield_scheduler.shortage: who waits for room, and how often that is looked at."""

from afield_scheduler.shortage import REST, Shortage


def test_all_who_are_short_are_seen_to() -> None:
    """Until they have what they need."""
    shortage = Shortage()
    for name in ("f", "g"):
        shortage.note(name, short=True)
    assert sorted(shortage.due(0.0)) == ["f", "g"]
    shortage.note("f", short=False)
    assert shortage.due(0.0) == ["g"]
    shortage.clear()
    assert shortage.due(0.0) == []


def test_a_crowd_does_not_take_all_the_time() -> None:
    """What took long is not done again at once, but it is done later, though nobody reports any more."""
    shortage = Shortage()
    shortage.note("f", short=True)
    shortage.seen_to(10.0, 10.5)
    assert shortage.next_due() is None
    assert shortage.due(10.6) == []
    again = 10.5 + REST * 0.5
    assert shortage.next_due() == again
    assert shortage.due(again) == ["f"]
    assert shortage.next_due() is None


def test_nobody_short_nothing_due() -> None:
    """Whoever got room meanwhile need not be seen to."""
    shortage = Shortage()
    shortage.note("f", short=True)
    shortage.seen_to(10.0, 10.5)
    assert shortage.due(10.6) == []
    shortage.note("f", short=False)
    assert shortage.next_due() is None
