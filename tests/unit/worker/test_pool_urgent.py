"""What somebody waits for leaves the pool first; what follows from it comes with the second call."""

from collections import defaultdict
from math import inf

import pytest

from afield._bus.errors import BusBufferFullError
from afield._wire import guest
from afield._wire.messages import InputResult
from afield_worker.engine import Engine
from afield_worker.instructions import Instruction, Pull, Send, Settle
from afield_worker.pool import Pool
from support.pool import World, pack, subject_of


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pool(world: World) -> Pool:
    """Of a quick function with a container that does nothing."""
    world.container()
    world.deliver(pack(), "hi")
    world.wait(0.002)
    world.answer()
    return world.pool


def deliver(world: World, first: int) -> list[Instruction]:
    """Deliver a pack, and leave it at that."""
    item = pack(first)
    return world.pool.delivery(
        object(), subject_of(item, "hi"), "hi", item, num_delivered=1, pending=0, now=world.now
    )


def answer(world: World) -> list[Instruction]:
    """Let the guest end the input that runs, and leave it at that."""
    (held,) = world.packs()
    results = (InputResult(index=held.pack.first, status="ok", value=b""),)
    return world.pool.results("ta-1", guest.Results(token=held.token, results=results), world.now)


def test_more_is_asked_for_afterwards(world: World, pool: Pool) -> None:
    """Nobody waits for a request for what comes next."""
    later: list[Instruction] = []
    for first in range(1, 20):
        for said in (deliver(world, first), answer(world)):
            assert not any(isinstance(item, Pull) for item in said)
            later += pool.go_on()

    assert any(isinstance(item, Pull) for item in later)


def test_a_pack_for_a_free_container_is_sent_alone(world: World, pool: Pool) -> None:
    """The container begins while the worker goes on thinking."""
    assert [type(item) for item in deliver(world, 1)] == [Send]
    assert pool.unfinished is not None
    assert not any(isinstance(item, Send) for item in pool.go_on())


def test_a_result_is_published_before_the_container_gets_its_next_pack(world: World, pool: Pool) -> None:
    """The caller waits for the one, the container has what it was sent ahead."""
    deliver(world, 1)
    pool.go_on()
    container = pool.containers["ta-1"]
    deliver(world, 2)
    pool.go_on()
    assert len(container.ahead) == 1

    assert [type(item) for item in answer(world)] == [Settle]
    assert not container.running
    pool.go_on()

    assert [held.pack.first for held in container.running.values()] == [2]


def test_a_result_that_cannot_be_sent_does_not_keep_its_container(world: World, pool: Pool) -> None:
    """The worker's buffer is full, as there has been no connection for long."""
    deliver(world, 1)
    pool.go_on()
    container = pool.containers["ta-1"]
    assert not pool.functions["fu-1"].free
    engine = object.__new__(Engine)  # of which only the carrying out is looked at
    engine.pool, engine._armed = pool, -inf
    engine._carry = defaultdict(lambda: lambda _: None, {Settle: _refuse})

    with pytest.raises(BusBufferFullError):
        engine.do(answer(world))

    assert pool.functions["fu-1"].free == [container]
    assert pool.unfinished is None


def _refuse(_settle: Settle) -> None:
    raise BusBufferFullError("full")


def test_nothing_is_left_to_do_twice(world: World, pool: Pool) -> None:
    """Nor after an event that is over with its instructions."""
    deliver(world, 1)
    pool.go_on()

    assert pool.unfinished is None
    assert pool.go_on() == []
    assert world.pool.results("ta-9", guest.Results(token=1, results=()), world.now) == []
    assert pool.unfinished is None
