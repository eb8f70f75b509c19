"""Packs that a container is sent before it can begin them: which, how many, and what becomes of them."""

from math import inf
from typing import Any

import pytest

from afield._wire import guest
from afield._wire.functions import Concurrency
from afield._wire.ids import input_id
from afield._wire.messages import Children, InputResult
from afield_worker.instructions import Interrupt, Nak, Send, Settle
from afield_worker.pipeline import STEAL_S
from afield_worker.slots import MOST_SENT, PATIENCE_S
from support.pool import CALL, World, pack

MEAN = 0.0001
"""Seconds that a pack of the function takes, by its guest's word."""


def quick(world: World, *containers: str, mean: float = MEAN, **spec: Any) -> None:
    """Containers of a function whose packs are known to take `mean` seconds."""
    for name in containers or ("ta-1",):
        world.container(name, **spec)
    world.deliver(pack(900))
    world.wait(mean)
    end(world, (containers or ("ta-1",))[-1], mean)
    world.store()


def end(world: World, name: str = "ta-1", ran: float = MEAN) -> None:
    """The pack that a container runs ends, after `ran` seconds."""
    index = world.packs(name)[0].pack.first
    world.answer(name, InputResult(index=index, status="ok", value=b"", run_s=ran))


def deliver(world: World, *indices: int, lane: Any = "lo", **fields: Any) -> None:
    """Packs of one."""
    for index in indices:
        world.deliver(pack(index, **fields), lane)


def ahead(world: World, name: str = "ta-1") -> list[int]:
    """The inputs that a container has and has not begun."""
    return [held.pack.first for held in world.pool.containers[name].ahead.values()]


def at_work(world: World, name: str = "ta-1") -> list[int]:
    """The inputs that a container runs."""
    return [held.pack.first for held in world.packs(name)]


def recalls(world: World) -> list[str]:
    """The containers that the last event asked for packs."""
    return [send.container_id for send in world.of(Send) if isinstance(send.frame, guest.Recall)]


# -- which, and how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "expected"), [(0.0001, 10), (0.00001, MOST_SENT), (0.0006, 1), (0.019, 1), (0.021, 0)]
)
def test_as_much_is_sent_as_is_soon_done(world: World, mean: float, expected: int) -> None:
    """A millisecond's work; one pack, if it takes longer; none behind what is slow."""
    quick(world, mean=mean)
    for index in range(MOST_SENT + 4):
        world.deliver(pack(index))
    assert len(ahead(world)) == expected
    assert at_work(world) == [0]


def test_nothing_is_sent_while_nobody_knows_how_long_it_takes(world: World) -> None:
    """The first pack of a function may take for ever."""
    world.container()
    deliver(world, 0, 1)
    assert ahead(world) == []


def test_containers_get_the_same(world: World) -> None:
    """Whoever has the least is sent the next."""
    quick(world, "ta-1", "ta-2")
    deliver(world, *range(6))
    assert [len(ahead(world, name)) for name in ("ta-1", "ta-2")] == [2, 2]


@pytest.mark.parametrize(
    "spec",
    [{"single_use": True}, {"is_generator": True}, {"concurrency": Concurrency(max_inputs=2)}],
    ids=["single use", "generator", "concurrent"],
)
def test_some_functions_are_sent_nothing(world: World, spec: dict[str, Any]) -> None:
    """A container that ends with its input, a generator that waits for its caller, one that takes several anyway."""
    world.container(**spec)
    world.pool.functions["fu-1"].mean = MEAN
    deliver(world, *range(4))
    assert ahead(world) == []


def test_functions_that_write_run_pack_by_pack(world: World) -> None:
    """Or their output would be taken for that of another."""
    quick(world)
    deliver(world, 0, 1)
    assert ahead(world) == [1]
    assert world.pool.wrote("ta-1") is None, "it may be of either"
    world.answer()
    deliver(world, 2)
    assert ahead(world) == []
    held = world.pool.wrote("ta-1")
    assert held is not None
    assert held.pack.first == 1


@pytest.mark.parametrize("fields", [{"losses": 1}, {"losses": 5}])
def test_what_was_lost_runs_with_nothing_behind_it(world: World, fields: dict[str, Any]) -> None:
    """And behind nothing: whom its end concerns must be certain."""
    quick(world)
    world.deliver(pack(0, **fields))
    deliver(world, 1)
    assert (at_work(world), ahead(world)) == ([0], [])
    world.answer()
    world.deliver(pack(2, **fields))
    assert (at_work(world), ahead(world)) == ([1], [])


# -- their turn ---------------------------------------------------------------------------------------------


def test_it_begins_when_the_one_before_has_ended(world: World) -> None:
    """Its clock, too; and the guest, which has it, is told nothing."""
    quick(world, timeout=5.0)
    deliver(world, 0, 1)
    (waits,) = world.pool.containers["ta-1"].ahead.values()
    assert (waits.phase, waits.deadline) == ("sent", inf)
    world.wait(0.05)

    world.answer()

    assert (at_work(world), ahead(world)) == ([1], [])
    assert waits.deadline == world.now + 5.0
    assert not world.runs()
    world.answer()
    assert [settle.results[0].status for settle in world.of(Settle)] == ["ok"]
    assert world.pool.containers["ta-1"].idle_since == world.now


def test_its_calls_are_remembered_before_its_turn(world: World) -> None:
    """The guest may have begun it, and tell of them on another way."""
    quick(world)
    deliver(world, 0, 1)
    children = Children(container_id="ta-1", parent=input_id(CALL, 1), ws="main", call_ids=("fc-a-0-1",))
    world.take(world.pool.children(children))
    world.answer()
    world.take(world.pool.cancels.call(CALL, (1,), world.now))
    world.answer("ta-1", InputResult(index=1, status="cancelled"))
    assert world.cancelled_calls == ["fc-a-0-1"]


def test_what_is_cancelled_before_its_turn_is_not_begun(world: World) -> None:
    """The guest is told, and nothing is interrupted."""
    quick(world)
    deliver(world, 0, 1)
    world.take(world.pool.cancels.call(CALL, (1,), world.now))
    (told,) = [send.frame for send in world.of(Send)]
    assert isinstance(told, guest.Cancel)
    assert not world.of(Interrupt)
    world.answer()
    world.answer("ta-1", InputResult(index=1, status="cancelled"))
    assert [settle.results[0].status for settle in world.of(Settle)] == ["cancelled"]


def test_what_was_sent_ahead_is_cancelled_before_what_runs_is_interrupted(world: World) -> None:
    """Else the guest, interrupted, could begin with it before it hears that nobody wants it."""
    quick(world)
    deliver(world, 0, 1)
    (running,), (sent,) = world.packs("ta-1"), world.pool.containers["ta-1"].ahead.values()
    said = world.take(world.pool.cancels.call(CALL, (), world.now))
    assert [type(each) for each in said] == [Send, Send, Interrupt]
    assert [send.frame.token for send in world.of(Send)] == [sent.token, running.token]


def test_the_last_words_of_a_container_that_is_killed(world: World) -> None:
    """Its result may be on its way: what it had not begun waits for its end then, behind nothing."""
    quick(world)
    deliver(world, 0, 1, 2)
    token = world.token()
    world.take(world.pool.cancels.call(CALL, (0,), world.now, terminate=True))
    world.answer("ta-1", InputResult(index=0, status="ok"), token=token)
    world.exit(signal=9)
    assert len(world.naks()) == 2


def test_a_cancel_of_other_inputs_is_not_for_it(world: World) -> None:
    """Of the same call."""
    quick(world)
    deliver(world, 0, 1)
    world.take(world.pool.cancels.call(CALL, (7,), world.now))
    assert not world.of(Send)


def test_the_end_of_a_container_is_not_held_against_what_it_had_not_begun(world: World) -> None:
    """It goes back as it came; only what ran was lost."""
    quick(world)
    deliver(world, 0, 1)
    world.exit(signal=9)
    assert len(world.naks()) == 2
    assert world.pool.functions["fu-1"].sent == 0
    world.container("ta-2")
    world.deliver(pack(0), times=2)
    world.deliver(pack(1), times=2)
    assert [held.losses for held in world.pool.held.values()] == [1, 0]


# -- recalls ------------------------------------------------------------------------------------------------


def test_it_is_recalled_when_the_one_before_takes_long(world: World) -> None:
    """And runs in the next container that is free."""
    quick(world)
    deliver(world, 0, 1, 2)
    world.wait(PATIENCE_S - 0.01)
    assert not world.recalls
    world.wait(0.02)
    assert list(world.recalls) == ["ta-1"]
    world.container("ta-2")
    assert at_work(world, "ta-2") == []

    world.give_back()

    assert (at_work(world, "ta-2"), ahead(world)) == ([1], [])
    assert ahead(world, "ta-2") == [2]


def test_what_begins_meanwhile_stays(world: World) -> None:
    """The guest has the last word, and its results may come before its answer."""
    quick(world)
    deliver(world, 0, 1, 2)
    world.wait(PATIENCE_S + 0.01)
    end(world)
    assert at_work(world) == [1]

    world.give_back(begun=world.token())

    assert (at_work(world), ahead(world)) == ([1], [2])
    world.answer()
    assert [settle.results[0].index for settle in world.of(Settle)] == [1]


def test_what_seemed_to_begin_meanwhile_waits_again(world: World) -> None:
    """It was taken for the one that runs, as the one before had ended; but the guest had given it back."""
    quick(world, timeout=5.0)
    deliver(world, 0, 1)
    world.wait(PATIENCE_S + 0.01)
    world.answer()
    held = world.packs()[0]
    assert held.pack.first == 1

    world.give_back()

    assert [run.first for run in world.runs()] == [1]
    assert at_work(world) == [1]
    assert held.deadline == world.now + 5.0


@pytest.mark.parametrize(("mean", "at_once"), [(0.01, True), (0.0001, False)])
def test_a_free_container_gets_what_waits_in_another(world: World, mean: float, at_once: bool) -> None:
    """At once, if it is worth the interruption; else when the other one has taken longer than it should."""
    quick(world, "ta-1", "ta-2", mean=mean)
    deliver(world, 0, 1, 2, 3)
    assert [len(ahead(world, name)) for name in ("ta-1", "ta-2")] == [1, 1]
    end(world, "ta-1", mean)
    end(world, "ta-1", mean)
    assert (list(world.recalls) == ["ta-2"]) == at_once
    world.wait(STEAL_S)
    assert list(world.recalls) == ["ta-2"]
    world.give_back("ta-2")
    assert len(at_work(world, "ta-1")) == 1


def test_urgent_packs_go_before_others_that_were_sent(world: World) -> None:
    """A call does not wait for the packs of a map that have not begun."""
    quick(world, mean=0.01)
    deliver(world, 0, 1)
    deliver(world, 2, lane="hi")
    assert recalls(world) == ["ta-1"]
    assert len(world.of(Interrupt)) == 1
    world.give_back()
    assert ahead(world) == [2]
    assert not recalls(world)


def test_nothing_is_sent_while_an_answer_is_awaited(world: World) -> None:
    """Or nobody would know what the answer is about."""
    quick(world)
    deliver(world, 0, 1)
    world.take(world.pool.lives.waits("ta-1", "session", 1, world.now) or [])
    assert list(world.recalls) == ["ta-1"]
    world.take(world.pool.lives.waits("ta-1", "session", 0, world.now) or [])
    deliver(world, 2)
    assert ahead(world) == [1]
    world.give_back()
    assert ahead(world) == [1, 2]


def test_a_container_that_retires_gives_back_what_it_has_not_begun(world: World) -> None:
    """And ends after what it runs."""
    quick(world)
    deliver(world, 0, 1)
    world.take(world.pool.lives.retire("ta-1", world.now))
    world.give_back()
    assert [nak.delivery for nak in world.naks()] == [3]
    world.answer()
    assert [send.frame for send in world.of(Send)] == [guest.Stop(grace_s=30.0)]


def test_a_worker_that_drains_sends_all_of_it_back(world: World) -> None:
    """What is cancelled of it has its end."""
    quick(world)
    deliver(world, 0, 1, 2)
    world.take(world.pool.cancels.call(CALL, (2,), world.now))
    world.take(world.pool.drain(world.now, grace=10.0))
    world.give_back()
    assert world.naks() == [Nak(3, 0.0)]
    assert [settle.results[0].status for settle in world.of(Settle)] == ["cancelled"]
