"""Packs that come again, with or without the death of a worker."""

import pytest

from afield._wire.messages import ErrorInfo
from afield_worker.instructions import Nak, Settle
from support.pool import World, pack, subject_of


def test_one_death_of_a_worker_changes_nothing(world: World) -> None:
    """It may have been anybody's fault."""
    world.container()
    world.deliver(pack(size=3), times=2, again=True, deaths=1)
    (held,) = world.fetching
    world.take(world.pool.fetched(held, held.args, world.now))
    assert world.packs() == [held]


def test_inputs_that_workers_died_with_go_on_alone(world: World) -> None:
    """One of them may have done it; the deaths are told in their messages."""
    world.container()
    world.deliver(pack(size=3), times=3, again=True, deaths=2)
    (held,) = world.fetching
    world.take(world.pool.fetched(held, held.args, world.now))
    (settle,) = world.of(Settle)
    assert [(m.input_index, m.attempt, m.losses) for m in settle.moved] == [(0, 1, 2), (1, 1, 2), (2, 1, 2)]
    assert not world.packs()


@pytest.mark.parametrize(("losses", "times"), [(0, 9), (2, 7), (6, 3)])
@pytest.mark.parametrize("last", [False, True])
def test_an_input_that_workers_die_with_ends(world: World, losses: int, times: int, last: bool) -> None:
    """After eight deaths, or less if it was lost otherwise before; then it is not run again."""
    world.container()
    world.deliver(pack(losses=losses), times=times if last else times - 1, again=True, deaths=2)
    (held,) = world.fetching
    world.take(world.pool.fetched(held, held.args, world.now))
    assert world.packs() == ([] if last else [held])
    errors = [result.error for settle in world.of(Settle) for result in settle.results]
    message = "the workers that ran this input of square died with it; it was lost 8 times"
    assert errors == ([ErrorInfo(kind="lost", message=message)] if last else [])


def test_deaths_are_remembered_by_message(world: World) -> None:
    """And add up."""
    world.pool.inherit({"IN_0.5": 2, "IN_0.6": 1})
    world.pool.inherit({"IN_0.5": 1})
    assert [world.pool.deaths(f"IN_0.{seq}") for seq in (4, 5, 6)] == [0, 3, 1]


def test_only_what_may_have_run_elsewhere_is_looked_at(world: World) -> None:
    """What this worker itself sent back has not run."""
    item = pack()

    def again(times: int) -> bool:
        return world.pool.comes_again(item.function_id, "lo", subject_of(item), times, 0)

    assert not again(1)
    world.deliver(item)  # no container takes it
    assert world.of(Nak)
    assert not again(2)
    assert again(3)
