"""How a worker that ends leaves its work."""

from afield._wire import guest
from afield._wire.functions import Concurrency
from afield._wire.messages import InputResult
from afield_worker.instructions import Interrupt, Kill, Nak, Progress, Send, Settle
from support.pool import CALL, World, pack, raised, retries


def drain(world: World, grace: float = 5.0) -> None:
    """Begin to drain."""
    world.take(world.pool.drain(world.now, grace=grace))


def given_back(world: World, *, index: int = 0) -> InputResult:
    """What a guest says of an input that it was told to end."""
    return InputResult(index=index, status="cancelled")


def test_what_ends_in_time_is_stored_and_then_the_container_stops(world: World) -> None:
    """Its exit hooks have their thirty seconds from there on."""
    world.container()
    world.deliver(pack())
    drain(world)
    assert not world.of(Send)
    world.wait(4.0)
    world.answer()
    assert world.of(Settle)
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]
    assert not [i for i in world.wait(31.0) if isinstance(i, Kill)]


def test_an_idle_container_stops_at_once(world: World) -> None:
    """With its exit hooks."""
    world.container()
    drain(world)
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]


def test_what_takes_too_long_is_interrupted_and_sent_back(world: World) -> None:
    """No attempt is charged, no loss is counted; then come the exit hooks."""
    world.container(retries=retries(3))
    world.deliver(pack())
    drain(world)
    said = [i for i in world.wait(5.0) if not isinstance(i, Progress)]
    assert said == [Send("ta-1", guest.Cancel(token=world.token())), Interrupt("ta-1")]
    world.answer("ta-1", given_back(world))
    assert not world.of(Settle)
    assert world.naks() == [Nak(1, 0.0)]
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]


def test_the_inputs_of_a_pack_are_handed_over_one_by_one(world: World) -> None:
    """Those that have ended stay ended, the others go on as packs of one, in the same attempt."""
    world.container(retries=retries(3))
    world.deliver(pack(0, 3))
    world.answer("ta-1", InputResult(index=0, status="ok", value=b""))
    drain(world)
    world.wait(5.0)
    for index in (1, 2):
        world.answer("ta-1", given_back(world, index=index))
    (settle,) = world.of(Settle)
    assert [r.status for r in settle.results] == ["ok", "moved", "moved"]
    assert [(m.attempt, m.losses) for m in settle.moved] == [(1, 0), (1, 0)]


def test_a_value_that_came_after_all_is_kept(world: World) -> None:
    """The interruption came too late."""
    world.container()
    world.deliver(pack())
    drain(world)
    world.wait(5.0)
    world.answer()
    assert [r.status for r in world.of(Settle)[0].results] == ["ok"]


def test_code_that_does_not_heed_it_is_killed_and_sent_back(world: World) -> None:
    """Two seconds later."""
    world.container("ta-1", retries=retries(3))
    world.deliver(pack())
    drain(world)
    assert Kill("ta-1") in world.wait(7.0)
    world.exit(signal=9)
    assert world.naks() == [Nak(1, 0.0)]


def test_all_that_a_container_runs_is_handed_over(world: World) -> None:
    """Each pack has its frame; the last one lets the container end."""
    world.container(concurrency=Concurrency(max_inputs=2))
    world.deliver(pack(0))
    world.deliver(pack(1))
    drain(world)
    cancels = [s.frame for s in world.wait(5.0) if isinstance(s, Send)]
    assert cancels == [guest.Cancel(token=held.token) for held in world.packs()]
    world.answer("ta-1", given_back(world))
    assert not world.of(Send)
    world.answer("ta-1", given_back(world, index=1))
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]


def test_an_input_that_is_cancelled_meanwhile_is_cancelled(world: World) -> None:
    """It must not run again elsewhere."""
    world.container()
    world.deliver(pack(0, 2))
    drain(world)
    world.wait(5.0)
    world.take(world.pool.cancels.call(CALL, (0,), world.now))
    for index in (0, 1):
        world.answer("ta-1", given_back(world, index=index))
    (settle,) = world.of(Settle)
    assert [r.status for r in settle.results] == ["cancelled", "moved"]


def test_an_error_of_code_that_was_interrupted_stands(world: World) -> None:
    """It was quicker."""
    world.container()
    world.deliver(pack())
    drain(world)
    world.wait(5.0)
    world.fail("ta-1", 0, raised())
    assert [r.status for r in world.of(Settle)[0].results] == ["error"]


def test_exit_hooks_that_take_too_long_are_killed(world: World) -> None:
    """After their thirty seconds and a moment."""
    world.container()
    drain(world)
    assert Kill("ta-1") in world.wait(32.0)
