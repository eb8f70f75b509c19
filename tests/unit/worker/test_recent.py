"""The bounded memory."""

from afield_worker.recent import Recent


def test_it_counts_what_it_saw() -> None:
    """And knows nothing of the rest."""
    recent = Recent(10)
    recent.add("a")
    recent.add("a")
    assert (recent.get("a"), recent.get("b")) == (2, 0)
    assert "b" not in recent


def test_the_oldest_is_forgotten_beyond_the_limit() -> None:
    """It never grows past it."""
    recent = Recent(2)
    for key in "abc":
        recent.add(key)
    assert ("a" in recent, "c" in recent, len(recent)) == (False, True, 2)
