"""Containers that run several packs at once: their room, their clocks, and whom an end concerns."""

from typing import Any

import pytest

from afield._wire import guest
from afield._wire.functions import Concurrency
from afield._wire.messages import InputResult
from afield_worker.instructions import Interrupt, Kill, Nak, Pull, Send, Settle
from support.pool import CALL, World, pack, raised, record, retries

OTHER = "fc-session-0-2"


def busy(world: World, *packs: int, inputs: int = 3, **spec: Any) -> None:
    """One container that takes `inputs` packs at once, and has packs of one with these inputs."""
    world.container(concurrency=Concurrency(max_inputs=inputs), **spec)
    for index in packs:
        world.deliver(pack(index, call_id=CALL if index else OTHER))


def tokens(world: World) -> list[int]:
    """The tokens of the packs that the container has, oldest first."""
    return [held.token for held in world.packs()]


def frames(world: World) -> list[guest.Cancel]:
    """The cancellations that the last event sent."""
    return [s.frame for s in world.of(Send) if isinstance(s.frame, guest.Cancel)]


# -- room ---------------------------------------------------------------------------------------------------


def test_a_container_is_given_as_many_packs_as_it_runs(world: World) -> None:
    """All of them at once, and no more."""
    busy(world, 0, 1, 2)
    assert [held.phase for held in world.packs()] == ["running"] * 3
    world.deliver(pack(3))
    assert len(world.naks()) == 1


def test_all_places_are_asked_for(world: World) -> None:
    """Also those of a container that is not ready yet."""
    world.container(ready=False, concurrency=Concurrency(max_inputs=3))
    assert world.of(Pull) == [Pull("fu-1", "hi", 3), Pull("fu-1", "lo", 3)]


def test_packs_go_where_least_runs(world: World) -> None:
    """Two containers share the work."""
    for name in ("ta-1", "ta-2"):
        world.container(name, concurrency=Concurrency(max_inputs=3))
    for index in range(4):
        world.deliver(pack(index))
    assert [len(world.packs(name)) for name in ("ta-1", "ta-2")] == [2, 2]


def test_it_is_idle_only_when_all_have_ended(world: World) -> None:
    """The scheduler must not take it for idle before."""
    busy(world, 0, 1)
    container = world.pool.containers["ta-1"]
    world.answer()
    assert container.idle_since == float("inf")
    world.answer()
    assert container.idle_since == world.now


def test_running_inputs_are_counted(world: World) -> None:
    """One of each pack: its inputs run one after the other."""
    busy(world, 1, 2)
    world.deliver(pack(10, 5))
    assert world.pool.functions["fu-1"].running == 3


def test_it_waits_only_when_all_that_it_runs_waits(world: World) -> None:
    """As long as something works, it needs its core."""
    busy(world, 1, 2)
    container = world.pool.containers["ta-1"]
    assert world.pool.lives.waits("ta-1", "a", 1, world.now) is None
    assert (container.waiting, container.waits) == (False, {"a": 1})
    assert world.pool.lives.waits("ta-1", "a", 2, world.now) is not None
    assert (container.waiting, container.waits) == (True, {"a": 2})
    world.deliver(pack(3))
    assert [container.waiting] == [False]


def test_one_that_retires_ends_after_its_last_pack(world: World) -> None:
    """It gets nothing new meanwhile."""
    busy(world, 1, 2)
    world.take(world.pool.lives.retire("ta-1", world.now))
    world.answer()
    assert not world.of(Send)
    world.deliver(pack(3))
    assert world.naks()
    world.answer()
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]


def test_one_of_an_older_version_ends_after_what_it_runs(world: World) -> None:
    """From the first pack that ends after the change on, it gets nothing new."""
    from dataclasses import replace

    busy(world, 1, 2)
    newer = replace(record(concurrency=Concurrency(max_inputs=3)), version=2)
    world.take(world.pool.lives.requested("ta-2", newer, world.now))
    world.answer()
    assert world.pool.containers["ta-1"].retiring
    world.answer()
    assert Send("ta-1", guest.Stop(grace_s=30.0)) in world.said


def test_a_slow_pack_does_not_keep_others_from_waiting_behind_quick_ones(world: World) -> None:
    """As long as something that it runs is young, places become free."""
    busy(world, 1, inputs=2)
    slots = world.pool.functions["fu-1"]
    slots.mean = 0.004
    world.wait(1.0)
    world.deliver(pack(2))
    assert slots.capacity(world.now) == 5
    world.wait(1.0)
    assert slots.capacity(world.now) == 0


# -- clocks -------------------------------------------------------------------------------------------------


def test_each_pack_has_its_own_clock(world: World) -> None:
    """The late one is told so in a frame, the other is let alone."""
    busy(world, 1, timeout=10.0)
    world.wait(6.0)
    world.deliver(pack(2))
    late, other = tokens(world)
    world.wait(4.0)
    assert frames(world) == [guest.Cancel(token=late, why="timeout")]
    assert not world.of(Interrupt)
    world.fail("ta-1", 1, raised("timeout"), run_s=10.0)
    assert world.of(Settle)[0].results[0].error.kind == "timeout"
    assert tokens(world) == [other]
    assert not [i for i in world.wait(5.0) if isinstance(i, Kill | Send)]


def test_one_that_ignores_its_interruption_takes_the_container_and_nobody_else(world: World) -> None:
    """The others run again: no attempt, no loss."""
    busy(world, 1, timeout=10.0, retries=retries(3))
    world.wait(5.0)
    world.deliver(pack(2))
    world.deliver(pack(10, 2))
    assert Kill("ta-1") in world.wait(7.0)
    world.exit(signal=9)
    (timed_out, taken_apart) = world.of(Settle)
    assert [(m.input_index, m.attempt) for m in timed_out.moved] == [(1, 2)]
    assert [(m.attempt, m.losses) for m in taken_apart.moved] == [(1, 0), (1, 0)]
    assert len(world.naks()) == 1
    world.container("ta-2", concurrency=Concurrency(max_inputs=3))
    world.deliver(pack(2), times=2)
    assert world.packs("ta-2")[0].losses == 0


def test_one_that_was_interrupted_a_moment_ago_is_not_at_fault(world: World) -> None:
    """Its own grace is not over when another one's is."""
    busy(world, 1, timeout=10.0)
    world.wait(1.0)
    world.deliver(pack(2))
    world.wait(11.0)
    world.exit(signal=9)
    (settle,) = world.of(Settle)
    assert [r.index for r in settle.results] == [1]
    assert len(world.naks()) == 1


def test_a_crash_concerns_all_that_ran(world: World) -> None:
    """Nobody knows whose it was: each counts a loss."""
    busy(world, 1, 2)
    world.exit(signal=11)
    assert len(world.naks()) == 2
    world.container("ta-2", concurrency=Concurrency(max_inputs=3))
    world.deliver(pack(1), times=2)
    assert world.packs("ta-2")[0].losses == 1


# -- cancellations ------------------------------------------------------------------------------------------


def test_one_call_is_cancelled_beside_another(world: World) -> None:
    """A frame for it, no ring, and its container lives on."""
    busy(world, 0, 1)
    world.take(world.pool.cancels.call(OTHER, (), world.now))
    first, second = tokens(world)
    assert frames(world) == [guest.Cancel(token=first, indices=(0,))]
    assert not world.of(Interrupt)
    world.answer("ta-1", InputResult(index=0, status="cancelled"))
    assert world.of(Settle)[0].results[0].status == "cancelled"
    assert tokens(world) == [second]


def test_code_that_ignores_its_cancellation_costs_the_others_nothing(world: World) -> None:
    """Its container is killed, they go back."""
    busy(world, 0, 1)
    world.take(world.pool.cancels.call(OTHER, (), world.now))
    assert Kill("ta-1") in world.wait(2.0)
    world.exit(signal=9)
    assert [r.status for s in world.of(Settle) for r in s.results] == ["cancelled"]
    assert [type(n) for n in world.naks()] == [Nak]


def test_containers_that_are_to_end_take_the_cancelled_call_along_only(world: World) -> None:
    """`terminate_containers` kills at once; what ran beside goes on elsewhere."""
    busy(world, 0, 1)
    said = world.take(world.pool.cancels.call(OTHER, (), world.now, terminate=True))
    assert Kill("ta-1") in said
    world.exit(signal=9)
    assert [r.status for s in world.of(Settle) for r in s.results] == ["cancelled"]
    assert len(world.naks()) == 1


def test_nothing_begins_in_a_container_that_ends_with_the_cancelled_call(world: World) -> None:
    """Also not what waited only for another input of that call."""
    world.container(concurrency=Concurrency(max_inputs=2))
    world.container("ta-2", ready=False, concurrency=Concurrency(max_inputs=2))
    world.deliver(pack(0))
    world.deliver(pack(1, losses=4))  # so many that it is to run alone
    world.deliver(pack(2, call_id=OTHER))
    world.take(world.pool.cancels.call(CALL, (), world.now, terminate=True))
    assert world.of(Kill) == [Kill("ta-1")]
    assert not world.runs()
    world.take(world.pool.lives.ready("ta-2", world.now))
    assert [run.first for run in world.runs()] == [2]


# -- generators ---------------------------------------------------------------------------------------------


def test_a_generator_that_another_run_overtook_ends_its_container_in_peace(world: World) -> None:
    """The packs beside it finish; then the container stops."""
    world.container(is_generator=True, concurrency=Concurrency(max_inputs=2))
    for index, call in enumerate((CALL, OTHER)):
        world.deliver(pack(index, kind="generator", call_id=call), times=2)
    mine, other = world.packs()
    frame = guest.Yields(token=mine.token, first=0, values=(b"a",))
    world.take(world.pool.generators.yields("ta-1", frame, world.now))
    world.running["ta-1"].discard(mine.token)
    world.take(world.pool.generators.chunk_refused(mine, world.now))
    assert frames(world) == [guest.Cancel(token=mine.token)]
    assert tokens(world) == [other.token]
    world.answer()
    assert Send("ta-1", guest.Stop(grace_s=30.0)) in world.said


@pytest.mark.parametrize("phase", ["starting", "ready"])
def test_single_use_containers_run_one_input(world: World, phase: str) -> None:
    """Whatever they could run at once."""
    world.container(ready=phase == "ready", single_use=True, concurrency=Concurrency(max_inputs=5))
    assert world.pool.containers["ta-1"].places == 1


# -- packs that were lost too often -------------------------------------------------------------------------


def lost(world: World, index: int, times: int, name: str = "ta-1") -> None:
    """Deliver a pack that this worker lost `times` times before."""
    for number in range(1, times + 1):
        world.deliver(pack(index), times=number)
        world.exit(name, signal=9)
        world.container(name, concurrency=Concurrency(max_inputs=3))
    world.deliver(pack(index), times=times + 1)


def test_what_was_lost_too_often_runs_alone(world: World) -> None:
    """If it is at fault, only it ends as lost."""
    busy(world)
    lost(world, 1, times=4)
    assert [held.pack.first for held in world.packs()] == [1]
    world.deliver(pack(2))
    assert len(world.packs()) == 1
    assert world.naks()
    world.answer()
    world.deliver(pack(2), times=2)
    world.deliver(pack(3))
    assert len(world.packs()) == 2


def test_a_container_runs_out_of_work_for_it(world: World) -> None:
    """What is young there ends soon; then it runs."""
    busy(world)
    lost(world, 1, times=3)
    world.deliver(pack(2))
    world.exit(signal=9)
    world.container(concurrency=Concurrency(max_inputs=3))
    world.deliver(pack(7))
    world.deliver(pack(1), times=5)
    world.deliver(pack(8))
    assert [held.pack.first for held in world.packs()] == [7]
    world.answer()
    assert [held.pack.first for held in world.packs()] == [1]


def test_a_container_that_works_for_long_is_not_kept_free_for_it(world: World) -> None:
    """It goes back, for another worker, and others may run here."""
    busy(world)
    lost(world, 1, times=3)
    world.exit(signal=9)
    world.container(concurrency=Concurrency(max_inputs=3))
    world.deliver(pack(7))
    world.deliver(pack(1), times=5)
    assert world.wait(1.0)
    world.deliver(pack(8))
    assert [held.pack.first for held in world.packs()] == [7, 8]
