"""The short form of the chaos suite: a round of the faults that matter most, with fewer inputs.

`make chaos` runs the long form.
"""

from pathlib import Path

import pytest

from chaos.plan import CLUSTER_FAULTS, FAULTS, Fault, make_plan
from chaos.platform import platform
from chaos.recipes import make_recipes
from chaos.rounds import Outcome, Round

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]

INPUTS = 800
ASLEEP = 60.0
"""Seconds that they sleep together: the map takes a sixth of it, and some faults come in that time."""
LIMIT = 100.0


async def one_round(
    folder: Path, faults: tuple[Fault, ...], seed: int, *, clustered: bool = False, calls: bool = False
) -> Outcome:
    """A platform, a map, and what came of it."""
    recipes = make_recipes(seed, INPUTS, ASLEEP)
    async with platform(folder / "home", clustered=clustered) as running:
        plan = make_plan(faults, seed, LIMIT)
        made = Round(running, folder / "round", recipes, plan, limit=LIMIT, calls=calls)
        return await made.run()


def assert_well(outcome: Outcome) -> None:
    """Nothing lost, nothing twice, nothing wrong, nothing left; and the faults were there."""
    assert not outcome.problem
    assert outcome.findings.lost == ()
    assert outcome.findings.duplicated == ()
    assert outcome.findings.wrong == ()
    assert outcome.findings.excess == ()
    assert outcome.leftovers == []
    assert outcome.strikes > 0


@pytest.mark.parametrize("name", ["kill-container", "kill-worker", "kill-nats-server", "everything"])
async def test_nothing_is_lost_and_nothing_twice(tmp_path: Path, name: str) -> None:
    """Every input has one result, the right one, whatever is killed."""
    assert_well(await one_round(tmp_path, FAULTS[name], 7))


async def test_single_calls_are_not_lost_either(tmp_path: Path) -> None:
    """Their inputs ask for no ack while they are quick, and are sent again when the server may have lost them."""
    assert_well(await one_round(tmp_path, FAULTS["kill-nats-server"], 7, calls=True))


async def test_nothing_is_lost_with_a_node_of_a_cluster(tmp_path: Path) -> None:
    """Three nats-servers with three replicas go on without one of them."""
    assert_well(await one_round(tmp_path, CLUSTER_FAULTS["kill-one-node"], 7, clustered=True))
