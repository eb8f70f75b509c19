"""Batched functions: their room, and the clocks of inputs that wait for others."""

from typing import Any

from afield._wire import guest
from afield._wire.functions import Batching, Concurrency
from afield._wire.messages import InputResult
from afield_worker.instructions import Kill, Pull, Send, Settle
from support.pool import CALL, World, pack, raised, retries


def batched(world: World, *packs: int, inputs: int = 1, **spec: Any) -> None:
    """One container of a function with batches of three, ten seconds of waiting, and some packs of one."""
    batching = Batching(max_batch_size=3, wait_ms=10_000)
    world.container(batching=batching, concurrency=Concurrency(max_inputs=inputs), **spec)
    for index in packs:
        world.deliver(pack(index))


def begin(world: World, *held: int) -> None:
    """Let the guest begin a batch of these packs."""
    tokens = tuple(world.packs()[number].token for number in held)
    world.take(world.pool.began("ta-1", guest.Began(tokens=tokens), world.now))


def sent(world: World, seconds: float) -> list[guest.Cancel]:
    """The cancellations of the time to come."""
    said = [s.frame for s in world.wait(seconds) if isinstance(s, Send)]
    return [frame for frame in said if isinstance(frame, guest.Cancel)]


def test_there_is_room_for_all_batches(world: World) -> None:
    """Of the largest size, as many as run at once."""
    world.container(
        ready=False, batching=Batching(max_batch_size=3, wait_ms=1), concurrency=Concurrency(max_inputs=2)
    )
    assert world.of(Pull)[0] == Pull("fu-1", "hi", 6)


def test_the_clock_starts_with_the_batch(world: World) -> None:
    """Waiting for others is not running."""
    batched(world, 1, timeout=5.0)
    assert not sent(world, 9.0)
    begin(world, 0)
    assert not sent(world, 4.0)
    assert [frame.why for frame in sent(world, 1.0)] == ["timeout"]


def test_inputs_that_wait_for_their_turn_are_not_late_while_batches_end(world: World) -> None:
    """Behind a batch, only silence is too long."""
    batched(world, 0, timeout=20.0)
    for index in range(1, 5):
        world.deliver(pack(index))
        begin(world, 1)
        assert not sent(world, 18.0)
        world.answer(token=world.packs()[1].token)
    assert [frame.token for frame in sent(world, 30.0)] == [world.token()]


def test_what_begins_in_time_after_all_is_not_killed(world: World) -> None:
    """The batch came in the moment of its interruption."""
    batched(world, 1, timeout=5.0)
    assert [frame.why for frame in sent(world, 15.0)] == ["timeout"]
    begin(world, 0)
    assert not [i for i in world.wait(4.0) if isinstance(i, Kill)]


def test_a_container_that_begins_nothing_is_killed_and_costs_no_attempt(world: World) -> None:
    """What waited goes on elsewhere, and counts a loss."""
    batched(world, 1, timeout=5.0, retries=retries(3))
    assert Kill("ta-1") in world.wait(17.0)
    world.exit(signal=9)
    assert not world.of(Settle)
    assert len(world.naks()) == 1


def test_a_late_batch_is_late_as_a_whole(world: World) -> None:
    """And those that wait behind it cost nothing."""
    batched(world, 1, 2, timeout=5.0)
    begin(world, 0, 1)
    world.wait(3.0)
    world.deliver(pack(3))
    assert Kill("ta-1") in world.wait(4.0)
    world.exit(signal=9)
    assert [s.results[0].error.kind for s in world.of(Settle)] == ["timeout", "timeout"]
    assert len(world.naks()) == 1


def test_the_next_input_of_a_pack_waits_for_a_batch_again(world: World) -> None:
    """Its clock stands until then."""
    batched(world, timeout=5.0)
    world.deliver(pack(0, 2))
    begin(world, 0)
    world.answer("ta-1", InputResult(index=0, status="ok", value=b""))
    assert not sent(world, 14.0)


def test_inputs_that_wait_do_not_count_as_running(world: World) -> None:
    """Those of a batch that has begun do."""
    batched(world, 1, 2, inputs=2)
    slots = world.pool.functions["fu-1"]
    assert slots.running == 0
    begin(world, 0)
    assert slots.running == 1


def test_one_input_of_a_batch_is_cancelled_without_harm_to_the_others(world: World) -> None:
    """The guest is told; nobody is killed for it."""
    batched(world, timeout=60.0)
    world.deliver(pack(0, 2))
    begin(world, 0)
    world.take(world.pool.cancels.call(CALL, (0,), world.now))
    assert [s.frame.indices for s in world.of(Send)] == [(0,)]
    assert not [i for i in world.wait(10.0) if isinstance(i, Kill)]
    world.answer("ta-1", InputResult(index=0, status="cancelled"))
    world.answer("ta-1", InputResult(index=1, status="ok", value=b""))
    assert [r.status for r in world.of(Settle)[0].results] == ["cancelled", "ok"]


def test_a_batch_that_nobody_wants_must_end(world: World) -> None:
    """When all that the container has is cancelled, it is killed if it does not heed that."""
    batched(world, 1, 2, timeout=60.0)
    begin(world, 0, 1)
    world.take(world.pool.cancels.call(CALL, (), world.now))
    assert Kill("ta-1") in world.wait(2.0)
    world.exit(signal=9)
    assert [r.status for s in world.of(Settle) for r in s.results] == ["cancelled", "cancelled"]


def test_an_error_of_a_batch_is_tried_again_one_by_one(world: World) -> None:
    """Each input by itself."""
    batched(world, 1, 2, retries=retries(1))
    begin(world, 0, 1)
    moved = []
    for index in (1, 2):
        world.fail("ta-1", index, raised())
        moved += [m.input_index for s in world.of(Settle) for m in s.moved]
    assert moved == [1, 2]
