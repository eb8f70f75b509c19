"""afield_scheduler.claims: what keeps a function off a host."""

from afield._wire.functions import Resources
from afield_scheduler.claims import AVOID_S, Claims, Refusals

ASKED = Resources(cpu=2.0)


def test_who_came_first_comes_first() -> None:
    """A claim keeps room from those without one, and from those whose own is younger, on that worker alone."""
    claims = Claims()
    claims.put("fu-1", "wk-1", ASKED, 1.0)
    claims.put("fu-2", "wk-1", ASKED, 2.0)
    assert len(claims.before("fu-3", "wk-1")) == 2
    assert len(claims.before("fu-2", "wk-1")) == 1
    assert claims.before("fu-1", "wk-1") == claims.before("fu-3", "wk-2") == []


def test_a_claim_that_moves_stays_as_old() -> None:
    """Until it was given up."""
    claims = Claims()
    claims.put("fu-1", "wk-1", ASKED, 1.0)
    claims.put("fu-1", "wk-2", ASKED, 5.0)
    claims.put("fu-2", "wk-2", ASKED, 2.0)
    assert claims.before("fu-9", "wk-1") == []
    assert len(claims.before("fu-2", "wk-2")) == 1
    claims.drop("fu-1")
    claims.put("fu-1", "wk-2", ASKED, 5.0)
    assert claims.before("fu-2", "wk-2") == []


def test_refusals_are_forgotten() -> None:
    """With the worker's next report, or after a moment; those of others stay."""
    refusals = Refusals()
    refusals.put("fu-1", "wk-1", "full", 0.0)
    refusals.put("fu-2", "wk-1", "full", 1.0)
    refusals.put("fu-1", "wk-2", "full", 1.0)
    refusals.expire(AVOID_S)
    assert [refusals.reason(f, "wk-1") for f in ("fu-1", "fu-2", "fu-3")] == ["", "full", ""]
    refusals.forget("wk-1")
    assert refusals.reason("fu-2", "wk-1") == ""
    assert refusals.reason("fu-1", "wk-2") == "full"


def test_a_claim_is_for_one_worker() -> None:
    """Whoever has one keeps off what is kept on other workers, for whomever that is, and however late they came."""
    claims = Claims()
    for n in (1, 2):
        claims.put(f"fu-{n}", f"wk-{n}", ASKED, float(n))
    assert [claims.worker_of(f"fu-{n}") for n in (1, 2, 3)] == ["wk-1", "wk-2", ""]
    assert len(claims.before("fu-1", "wk-2")) == len(claims.before("fu-2", "wk-1")) == 1
    assert len(claims.on("wk-2")) == 1
    assert claims.stirred == {"wk-1", "wk-2"}
