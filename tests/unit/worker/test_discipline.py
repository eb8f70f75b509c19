"""Deadlines, cancellations and stops: interrupted first, then killed."""

from afield._wire import guest
from afield._wire.messages import InputResult
from afield_worker.instructions import (
    Ack,
    Interrupt,
    Kill,
    Nak,
    Progress,
    Send,
    Settle,
    Unpull,
)
from support.pool import CALL, World, pack, raised, retries


def test_a_late_input_is_interrupted_then_killed(world: World) -> None:
    """The caller is told of the timeout, not of the kill."""
    world.container(timeout=10.0)
    world.deliver(pack())
    assert [i for i in world.wait(10.0) if not isinstance(i, Progress)] == [Interrupt("ta-1")]
    assert Kill("ta-1") in world.wait(2.0)
    world.exit(signal=9)
    assert world.of(Settle)[0].results[0].error.kind == "timeout"


def test_an_interrupt_that_is_heeded_ends_one_input_only(world: World) -> None:
    """The guest reports the timeout, and goes on with the rest of the pack."""
    world.container(timeout=10.0)
    world.deliver(pack(0, 2))
    world.wait(10.0)
    world.fail("ta-1", 0, raised("timeout"), run_s=10.0)
    assert not [i for i in world.wait(9.0) if isinstance(i, Kill | Interrupt)]
    world.answer("ta-1", InputResult(index=1, status="ok", value=b""))
    assert [r.status for r in world.of(Settle)[0].results] == ["error", "ok"]


def test_an_interrupt_that_hit_the_next_input_costs_it_nothing(world: World) -> None:
    """An input that hardly ran did not time out: it runs again, alone."""
    world.container(timeout=10.0)
    world.deliver(pack(0, 2))
    world.wait(10.0)
    world.answer(
        "ta-1",
        InputResult(index=0, status="ok", value=b"", run_s=10.0),
        InputResult(index=1, status="error", error=raised("timeout"), run_s=0.1),
    )
    (settle,) = world.of(Settle)
    assert [(m.input_index, m.attempt, m.losses) for m in settle.moved] == [(1, 1, 0)]


def test_every_result_restarts_the_clock(world: World) -> None:
    """The timeout is for one input, not for the pack."""
    world.container(timeout=10.0)
    world.deliver(pack(0, 2))
    world.wait(9.0)
    world.answer("ta-1", InputResult(index=0, status="ok", value=b""))
    assert not [i for i in world.wait(9.0) if isinstance(i, Interrupt)]


def test_a_pack_that_hangs_beyond_interrupts_is_taken_apart(world: World) -> None:
    """Nobody knows which of several inputs hung; no attempt is charged to them."""
    world.container(timeout=1.0)
    world.deliver(pack(0, 2))
    world.wait(3.0)
    world.exit(signal=9)
    (settle,) = world.of(Settle)
    assert [(m.input_index, m.attempt, m.losses) for m in settle.moved] == [(0, 1, 0), (1, 1, 0)]


def test_a_timeout_costs_an_attempt(world: World) -> None:
    """Retries are for timeouts, too."""
    world.container(timeout=1.0, retries=retries(1))
    world.deliver(pack())
    world.wait(3.0)
    world.exit(signal=9)
    assert [m.attempt for m in world.of(Settle)[0].moved] == [2]


def test_a_running_input_is_cancelled_by_frame_and_interrupt(world: World) -> None:
    """The guest says `cancelled`, and that is the result."""
    world.container()
    world.deliver(pack())
    world.take(world.pool.cancels.call(CALL, (), world.now))
    assert [type(i) for i in world.said] == [Send, Interrupt]
    world.answer("ta-1", InputResult(index=0, status="cancelled"))
    assert world.of(Settle)[0].results[0].status == "cancelled"


def test_code_that_ignores_its_cancellation_is_killed(world: World) -> None:
    """After two seconds; the other inputs of the pack run again."""
    world.container()
    world.deliver(pack(0, 2))
    world.take(world.pool.cancels.call(CALL, (0,), world.now))
    assert Kill("ta-1") in world.wait(2.0)
    world.exit(signal=9)
    assert [r.status for r in world.of(Settle)[0].results] == ["cancelled", "moved"]


def test_a_waiting_pack_is_cancelled_without_running(world: World) -> None:
    """Its result is stored as cancelled."""
    world.container(ready=False)
    world.deliver(pack())
    world.take(world.pool.cancels.call(CALL, (), world.now))
    assert world.of(Settle)[0].results[0].status == "cancelled"


def test_a_waiting_pack_that_is_cancelled_in_part_tells_the_guest(world: World) -> None:
    """The frame with the inputs is followed by one that names those not to begin."""
    world.container(ready=False)
    world.deliver(pack(0, 2))
    world.take(world.pool.cancels.call(CALL, (1,), world.now))
    world.take(world.pool.lives.ready("ta-1", world.now))
    token = world.runs()[0].token
    assert world.of(Send)[-1] == Send("ta-1", guest.Cancel(token=token, indices=(1,)))


def test_terminate_containers_kills_at_once(world: World) -> None:
    """Without waiting for the user code."""
    world.container()
    world.deliver(pack())
    assert world.take(world.pool.cancels.call(CALL, (), world.now, terminate=True)) == [
        Kill("ta-1"),
        Unpull("fu-1"),
    ]


def test_a_stopped_container_finishes_what_it_runs(world: World) -> None:
    """It takes nothing new, and what it still stores is acknowledged."""
    world.container()
    world.deliver(pack(0))
    world.take(world.pool.lives.stop("ta-1", world.now))
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]
    world.answer()
    world.deliver(pack(1))
    assert world.of(Nak)
    world.exit(exit_code=0)
    assert world.store() == [Ack(1)]


def test_a_container_that_does_not_stop_is_killed(world: World) -> None:
    """Its pack goes back, and no loss is counted."""
    world.container()
    world.deliver(pack(0, 2))
    world.take(world.pool.lives.stop("ta-1", world.now, grace=1.0))
    assert Kill("ta-1") in world.wait(3.0)
    world.exit(signal=9)
    assert [m.losses for m in world.of(Settle)[0].moved] == [0, 0]


def test_a_container_of_a_stopped_app_is_aborted(world: World) -> None:
    """What it runs is cancelled, for nobody waits for it."""
    world.container()
    world.deliver(pack())
    world.take(world.pool.lives.stop("ta-1", world.now, grace=1.0, abort=True))
    assert world.of(Interrupt)
    world.exit(signal=9)
    assert world.of(Settle)[0].results[0].status == "cancelled"
