"""Generators in the pool: values, credit, and that they run only once."""

from afield._wire import guest
from afield_worker.instructions import Ack, Interrupt, Send, Settle, StoreChunk
from support.pool import CALL, World, pack, retries


def test_the_end_of_a_generator_waits_until_its_values_are_stored(world: World) -> None:
    """Who sees the end finds every value."""
    world.container(is_generator=True)
    world.deliver(pack(kind="generator"))
    (run,) = world.runs()
    world.take(
        world.pool.generators.yields(
            "ta-1", guest.Yields(token=run.token, first=0, values=(b"a",)), world.now
        )
    )
    assert world.of(StoreChunk)[0].number == 0
    world.answer()
    assert not world.of(Settle)
    world.store_chunk()
    assert world.of(Settle)


def test_credit_is_passed_on_to_the_guest(world: World) -> None:
    """The running total of what the caller took, plus the window."""
    world.container(is_generator=True)
    world.deliver(pack(kind="generator"))
    (run,) = world.runs()
    assert run.credit == 128
    world.take(world.pool.generators.credit(CALL, 10, world.now))
    assert world.of(Send) == [Send("ta-1", guest.Credit(token=run.token, total=138))]
    assert not world.take(world.pool.generators.credit(CALL, 5, world.now))


def test_a_generator_that_waits_for_its_caller_is_not_late(world: World) -> None:
    """Its clock stands while it has no credit."""
    world.container(is_generator=True, timeout=1.0)
    world.deliver(pack(kind="generator"))
    (run,) = world.runs()
    world.wait(0.7)
    frame = guest.Yields(token=run.token, first=0, values=(b"",) * 128)
    world.take(world.pool.generators.yields("ta-1", frame, world.now))
    assert not [i for i in world.wait(60.0) if isinstance(i, Interrupt)]
    world.take(world.pool.generators.credit(CALL, 128, world.now))
    assert not [i for i in world.wait(0.2) if isinstance(i, Interrupt)]
    assert Interrupt("ta-1") in world.wait(0.2)


def test_a_generator_has_one_timeout_for_all_its_values(world: World) -> None:
    """However often it yields."""
    world.container(is_generator=True, timeout=1.0)
    world.deliver(pack(kind="generator"))
    (run,) = world.runs()
    for number in range(4):
        assert not [i for i in world.wait(0.24) if isinstance(i, Interrupt)]
        frame = guest.Yields(token=run.token, first=number, values=(b"",))
        world.take(world.pool.generators.yields("ta-1", frame, world.now))
    assert Interrupt("ta-1") in world.wait(0.1)


def test_a_generator_is_not_run_again_once_a_value_was_published(world: World) -> None:
    """A lost container ends the call."""
    world.container(is_generator=True, retries=retries(3))
    world.deliver(pack(kind="generator"))
    (run,) = world.runs()
    world.take(
        world.pool.generators.yields(
            "ta-1", guest.Yields(token=run.token, first=0, values=(b"a",)), world.now
        )
    )
    world.store_chunk()
    world.exit(signal=9)
    assert world.of(Settle)[0].results[0].error.kind == "lost"


def test_a_second_run_of_a_generator_ends_when_the_first_left_values(world: World) -> None:
    """The stream refused its first chunk: another run came before."""
    world.container(is_generator=True)
    world.deliver(pack(kind="generator"), times=2)
    (run,) = world.runs()
    world.take(
        world.pool.generators.yields(
            "ta-1", guest.Yields(token=run.token, first=0, values=(b"a",)), world.now
        )
    )
    held = next(iter(world.pool.held.values()))
    world.running.pop("ta-1")
    world.take(world.pool.generators.chunk_refused(held, world.now))
    assert world.of(Settle)[0].results[0].error.kind == "lost"
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=0.0))]


def test_a_generator_that_was_ended_ends_once(world: World) -> None:
    """The refusal of its second chunk changes nothing any more."""
    world.container(is_generator=True)
    world.deliver(pack(kind="generator"), times=2)
    (run,) = world.runs()
    for number in range(2):
        frame = guest.Yields(token=run.token, first=number, values=(b"a",))
        world.take(world.pool.generators.yields("ta-1", frame, world.now))
    held = next(iter(world.pool.held.values()))
    world.take(world.pool.generators.chunk_refused(held, world.now))
    assert not world.take(world.pool.generators.chunk_refused(held, world.now))
    assert Ack(1) in world.store()
