"""afield_scheduler.bounded: the newest are kept."""

from afield_scheduler.bounded import Bounded


def test_the_oldest_go() -> None:
    """Setting a key again makes it the newest."""
    kept: Bounded[str, int] = Bounded(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        kept[key] = value
    assert dict(kept) == {"a": 3, "c": 4}
