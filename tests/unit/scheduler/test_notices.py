"""afield_scheduler.notices: what people should know."""

import pytest

from afield_scheduler.notices import LASTS_S, Pulling
from support.fleet import function, worker


def looked(*looks: tuple[int, int, str], every: float = LASTS_S) -> list[str]:
    """The notices after looks at one function: packs that wait, open requests, the worker that is free."""
    pulling, now = Pulling(), 0.0
    for packs, pulls, free in looks:
        pulling.look("fu-1", packs=packs, pulls=pulls, workers={free} if free else set(), now=now)
        now += every
    return list(pulling.notices([function()], [], now))


ODD = (12, 0, "wk-1")


def test_inputs_that_nobody_pulls_are_noticed() -> None:
    """After some looks in a row, with the figures and the worker."""
    assert looked(ODD, ODD) == []
    (notice,) = looked(ODD, ODD, ODD)
    assert "12 packs" in notice
    assert "wk-1" in notice
    assert "fu-1" in notice


@pytest.mark.parametrize("usual", [(0, 0, "wk-1"), (12, 1, "wk-1"), (12, 0, "")])
def test_the_usual_is_not_noticed(usual: tuple[int, int, str]) -> None:
    """Nothing waits, or somebody asks, or nobody is free: that ends the matter."""
    assert looked(usual, usual, usual) == []
    assert looked(ODD, ODD, usual, ODD, ODD) == []


def test_a_moment_is_not_noticed() -> None:
    """However many looks fall into it: workers report every second."""
    assert looked(*[ODD] * 20, every=0.05) == []


def test_what_is_over_is_forgotten() -> None:
    """A function that is gone, or another leader's view."""
    for forget in (Pulling.clear, lambda pulling: pulling.forget("fu-1")):
        pulling = Pulling()
        for now in (0.0, 5.0, 10.0):
            pulling.look("fu-1", packs=1, pulls=0, workers={"wk-1"}, now=now)
        assert list(pulling.notices([function()], [], 10.0)) != []
        forget(pulling)
        assert list(pulling.notices([function()], [], 10.0)) == []


def test_stalled_workers_are_noticed() -> None:
    """In their own words."""
    workers = [worker("wk-1"), worker("wk-2", stalled="its disk is full")]
    (notice,) = Pulling().notices([], workers, 0.0)
    assert "wk-2" in notice
    assert "its disk is full" in notice
