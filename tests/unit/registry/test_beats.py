"""afield_registry.beats: who still lives."""

from hypothesis import given
from hypothesis import strategies as st

from afield_registry.beats import AppKey, Beats

A, B = AppKey("main", "ap-a"), AppKey("main", "ap-b")


def test_three_missed_beats_lapse_an_app() -> None:
    """At 15 s a beat, 45 s of silence are too many, and less is not."""
    beats = Beats(15.0)
    beats.seen(A, 100.0)
    assert beats.lapsed(144.9) == []
    assert beats.lapsed(145.0) == [A]


def test_a_beat_starts_the_grace_anew() -> None:
    """Every sign of life counts in full."""
    beats = Beats(15.0)
    beats.seen(A, 0.0)
    beats.heard(A, 40.0)
    assert beats.lapsed(84.0) == []
    assert beats.lapsed(85.0) == [A]


def test_beats_of_strangers_are_ignored() -> None:
    """A client that beats for a stopped app does not bring it back."""
    beats = Beats(15.0)
    beats.heard(A, 0.0)
    assert beats.lapsed(1e9) == []


def test_restart_gives_a_fresh_grace() -> None:
    """Apps found at the start of a registry have not missed anything yet; those known keep their time."""
    beats = Beats(15.0)
    beats.seen(A, 0.0)
    beats.keep({A, B}, 40.0)
    assert beats.lapsed(50.0) == [A]
    assert beats.lapsed(90.0) == [A, B]


def test_outage_is_forgiven() -> None:
    """Nobody lapses because we could not hear."""
    beats = Beats(15.0)
    beats.seen(A, 0.0)
    beats.forgive(1000.0)
    assert beats.lapsed(1044.0) == []


def test_forgotten_app_never_lapses() -> None:
    """An app that was stopped is watched no more."""
    beats = Beats(15.0)
    beats.seen(A, 0.0)
    beats.forget(A)
    assert beats.lapsed(1e9) == []


@given(st.dictionaries(st.sampled_from([A, B]), st.floats(0, 1000)), st.floats(1000, 2000))
def test_pause_ends_before_anybody_lapses_unseen(seen: dict[AppKey, float], now: float) -> None:
    """Whoever sleeps for `pause` misses nobody: nothing lapses within it, and it is never longer than a grace."""
    beats = Beats(15.0)
    for app, at in seen.items():
        beats.seen(app, at)
    pause = beats.pause(now)
    assert 0 <= pause <= beats.grace
    if pause:
        assert beats.lapsed(now + pause * 0.999) == []
