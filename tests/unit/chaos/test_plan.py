"""The plan of a round."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.plan import CLUSTER_FAULTS, FAULTS, Fault, make_plan

SETS = list(FAULTS.values()) + list(CLUSTER_FAULTS.values())


@given(st.sampled_from(SETS), st.integers(), st.floats(0, 300))
def test_a_seed_gives_the_same_plan(faults: tuple[Fault, ...], seed: int, length: float) -> None:
    """In order, within the length, and no more of each than allowed."""
    plan = make_plan(faults, seed, length)
    assert plan == make_plan(faults, seed, length)
    assert [strike.at for strike in plan] == sorted(strike.at for strike in plan)
    assert all(0 <= strike.at < length and 0 <= strike.choice < 1 for strike in plan)
    for fault in faults:
        mine = [s for s in plan if (s.target, s.action) == (fault.target, fault.action)]
        assert len(mine) <= fault.most
        for before, after in pairwise(mine):
            lasts = before.hold if fault.action == "pause" else 0.0
            assert after.at >= before.at + lasts + fault.gap[0]


def test_seeds_differ() -> None:
    """Another seed strikes at other times."""
    assert make_plan(FAULTS["everything"], 1, 60) != make_plan(FAULTS["everything"], 2, 60)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_pauses_are_longer_than_what_would_hide_them(name: str) -> None:
    """A pause lasts longer than a lease, an ack wait or a heartbeat of its target, a kill no time."""
    for fault in FAULTS[name]:
        assert fault.action == "step" or (fault.hold[0] > 5.0) == (fault.action == "pause")
