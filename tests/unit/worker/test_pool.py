"""The worker's pool: which pack runs where, and what becomes of it."""

from typing import Any

import pytest

from afield._wire import guest
from afield._wire.messages import ErrorInfo, InputResult
from afield._wire.streams import ACK_WAIT
from afield_worker.instructions import (
    Ack,
    Fetch,
    Kill,
    Nak,
    Progress,
    Pull,
    Report,
    Send,
    Settle,
    Unpull,
)
from support.pool import CALL, World, pack, raised, record, retries

# -- pulling ------------------------------------------------------------------------------------------------


def test_pulling_begins_before_the_container_is_ready(world: World) -> None:
    """A starting container asks both lanes for its first pack."""
    world.container(ready=False)
    assert world.of(Pull) == [Pull("fu-1", "hi", 1), Pull("fu-1", "lo", 1)]


def test_a_delivery_waits_for_the_starting_container(world: World) -> None:
    """A cold call's pack is held, and starts the moment that the container is ready."""
    world.container(ready=False)
    world.deliver(pack())
    assert not world.runs()
    assert not world.wait(3.0)
    world.take(world.pool.lives.ready("ta-1", world.now))
    assert [run.first for run in world.runs()] == [0]


def test_more_is_asked_for_when_a_slot_is_free_again(world: World) -> None:
    """A slow function's container asks for one pack at a time."""
    world.container()
    world.deliver(pack(), "hi")
    assert not world.of(Pull)
    world.wait(1.0)
    world.answer()
    assert world.of(Pull) == [Pull("fu-1", "hi", 1)]


def test_quick_functions_are_asked_ahead(world: World) -> None:
    """Packs of 2 ms let ten wait behind one container: 20 ms of work."""
    world.container()
    world.deliver(pack(), "hi")
    world.wait(0.002)
    world.answer()
    assert Pull("fu-1", "hi", 11) in world.of(Pull)


def test_nothing_waits_behind_a_container_whose_run_time_is_unknown(world: World) -> None:
    """A pack that cannot start at once is sent back at once, for another worker."""
    world.container()
    world.deliver(pack(0))
    world.deliver(pack(1))
    assert world.naks() == [Nak(2, 0.0)]


def test_a_pack_that_waited_too_long_behind_another_is_sent_back(world: World) -> None:
    """What was quick so far may be slow now, and may even wait for the pack behind it."""
    world.container()
    world.deliver(pack(0), "hi")
    world.wait(0.001)
    world.answer()
    world.deliver(pack(1), "hi")
    world.deliver(pack(2), "hi")
    assert not world.of(Nak)
    world.wait(0.2)
    world.give_back()
    assert Nak(3, 0.02) in world.naks()


def test_a_single_call_overtakes_the_packs_of_a_map(world: World) -> None:
    """Of the packs that wait, `hi` goes first."""
    world.container(ready=False)
    world.container("ta-2", ready=False)
    world.deliver(pack(0), "lo")
    world.deliver(pack(1), "hi")
    world.take(world.pool.lives.ready("ta-1", world.now))
    assert [run.first for run in world.runs()] == [1]


def test_lo_is_not_asked_while_hi_holds_a_backlog(world: World) -> None:
    """What `hi` is known to hold fills the slot first, so nothing of `lo` has to be sent back."""
    world.container()
    world.deliver(pack(0), "lo")
    world.deliver(pack(1), "hi", pending=3)
    world.wait(1.0)
    world.answer()
    assert world.of(Pull) == [Pull("fu-1", "hi", 1)]


def test_lo_is_asked_after_all_when_others_took_the_backlog_of_hi(world: World) -> None:
    """A backlog that does not arrive at once is no longer there."""
    world.container()
    world.deliver(pack(0), "lo")
    world.deliver(pack(1), "hi", pending=3)
    world.wait(1.0)
    world.answer()
    assert Pull("fu-1", "lo", 1) in world.wait(0.1)


def test_pulling_ends_with_the_last_container(world: World) -> None:
    """Without a container nothing is asked for, and what comes late is sent back."""
    world.container()
    world.exit(exit_code=0)
    assert world.of(Unpull)
    world.deliver(pack())
    assert world.naks() == [Nak(1, 0.0)]


# -- the ordinary life of a pack --------------------------------------------------------------------------------


def test_a_result_is_stored_before_its_input_is_acknowledged(world: World) -> None:
    """The order is: run, publish, stored, acknowledge."""
    world.container()
    world.deliver(pack(0, 2))
    world.answer()
    (settle,) = world.of(Settle)
    assert [r.index for r in settle.results] == [0, 1]
    assert not world.of(Ack)
    assert world.store() == [Ack(1)]


def test_results_may_come_in_several_frames(world: World) -> None:
    """A pack is over when all its inputs have been named."""
    world.container()
    world.deliver(pack(0, 2))
    assert not world.answer("ta-1", InputResult(index=0, status="ok", value=b""))
    world.answer("ta-1", InputResult(index=1, status="ok", value=b""))
    assert len(world.of(Settle)) == 1


def test_a_twin_of_what_runs_is_dropped(world: World) -> None:
    """A second delivery is not run; its handle is the one that is acknowledged."""
    world.container()
    world.deliver(pack())
    assert not world.deliver(pack(), times=2)
    world.answer()
    assert world.store() == [Ack(2)]


def test_a_twin_of_what_is_stored_is_acknowledged(world: World) -> None:
    """A delivery whose acknowledgement was lost does not run again."""
    world.container()
    world.deliver(pack())
    world.answer()
    world.store()
    assert Ack(2) in world.deliver(pack(), times=2)


def test_an_attempt_before_its_time_is_sent_back_for_the_rest(world: World) -> None:
    """The server keeps the delay."""
    world.container()
    world.deliver(pack(not_before=1.0), wait=2.5)
    assert Nak(1, 2.5) in world.naks()


def test_a_result_that_cannot_be_stored_sends_the_input_back(world: World) -> None:
    """Nothing is acknowledged that is not stored."""
    world.container()
    world.deliver(pack())
    world.answer()
    world.take(world.pool.store_failed(world.settling.pop().held, world.now))
    assert world.naks() == [Nak(1, 1.0)]


def test_progress_is_reported_for_everything_held_by_one_timer(world: World) -> None:
    """Every third of the ack wait, all deliveries at once: those that wait, run and are being stored."""
    world.container("ta-1")
    world.container("ta-2")
    world.deliver(pack(0))
    world.deliver(pack(1))
    world.answer("ta-1")
    assert [p for p in world.wait(ACK_WAIT / 2) if isinstance(p, Progress)] == [Progress((1, 2))]


def test_arguments_elsewhere_are_fetched_first(world: World) -> None:
    """The pack holds a place, and starts when its arguments are here."""
    world.container()
    world.deliver(pack(), fetch=True)
    (fetch,) = world.of(Fetch)
    world.take(world.pool.fetched(fetch.held, (b"here",), world.now))
    assert world.runs()[0].args == (b"here",)


def test_arguments_that_are_gone_end_the_input(world: World) -> None:
    """An error for good becomes the result."""
    world.container()
    world.deliver(pack(), fetch=True)
    world.take(world.pool.fetch_failed(world.fetching[0], raised("internal"), world.now))
    assert world.of(Settle)[0].results[0].error == raised("internal")


# -- retries --------------------------------------------------------------------------------------------------


def test_an_exception_without_retries_is_the_result(world: World) -> None:
    """The error goes to the caller as it came."""
    world.container()
    world.deliver(pack())
    world.fail("ta-1", 0, raised())
    assert world.of(Settle)[0].results[0].error == raised()


def test_the_next_attempt_of_a_pack_of_one_has_no_result_yet(world: World) -> None:
    """Both attempts share a result subject, so the first must not take it."""
    world.container(retries=retries(2, delay=3.0))
    world.deliver(pack())
    world.fail("ta-1", 0, raised())
    (settle,) = world.of(Settle)
    assert settle.results == ()
    assert [(m.input_index, m.attempt, m.delay) for m in settle.moved] == [(0, 2, 3.0)]


def test_the_next_attempt_of_one_of_many_leaves_the_pack(world: World) -> None:
    """The pack's result says `moved` for it, and the values of the others."""
    world.container(retries=retries(1))
    world.deliver(pack(0, 2))
    world.answer(
        "ta-1",
        InputResult(index=0, status="error", error=raised()),
        InputResult(index=1, status="ok", value=b"1"),
    )
    (settle,) = world.of(Settle)
    assert [r.status for r in settle.results] == ["moved", "ok"]
    assert [m.attempt for m in settle.moved] == [2]


def test_the_last_attempt_ends_in_its_error(world: World) -> None:
    """One retry means two attempts."""
    world.container(retries=retries(1))
    world.deliver(pack(attempt=2))
    world.fail("ta-1", 0, raised())
    assert world.of(Settle)[0].results[0].status == "error"


@pytest.mark.parametrize("kind", ["serialization", "deserialization", "internal"])
def test_what_would_not_change_is_not_tried_again(world: World, kind: str) -> None:
    """Retries are for what user code did."""
    world.container(retries=retries(5))
    world.deliver(pack())
    world.fail("ta-1", 0, raised(kind))
    assert world.of(Settle)[0].results[0].error == raised(kind)


# -- containers that end ------------------------------------------------------------------------------------------


def test_a_lost_pack_of_one_goes_back_at_once(world: World) -> None:
    """The stream gives it to somebody else."""
    world.container()
    world.deliver(pack())
    world.exit(signal=9)
    assert world.naks() == [Nak(1, 0.0)]


def test_the_unfinished_inputs_of_a_lost_pack_go_on_alone(world: World) -> None:
    """Those with a result keep it, the others count a loss."""
    world.container()
    world.deliver(pack(0, 3))
    world.answer("ta-1", InputResult(index=0, status="ok", value=b""))
    world.exit(signal=9)
    (settle,) = world.of(Settle)
    assert [r.status for r in settle.results] == ["ok", "moved", "moved"]
    assert [(m.input_index, m.attempt, m.losses) for m in settle.moved] == [(1, 1, 1), (2, 1, 1)]


def test_the_eighth_loss_is_final(world: World) -> None:
    """The error says how the container ended and what it wrote last."""
    world.container()
    world.deliver(pack(losses=3), times=5)
    world.exit(signal=11, log_tail=("boom",))
    error = world.of(Settle)[0].results[0].error
    assert (error.kind, error.signal, error.log_tail, error.container_id) == ("lost", 11, ("boom",), "ta-1")


def test_what_the_worker_sent_back_by_itself_is_no_loss(world: World) -> None:
    """A pack that found no free slot nine times has not harmed anybody."""
    world.container()
    world.deliver(pack(0))
    for times in range(1, 10):
        world.deliver(pack(1), times=times)
    world.answer()
    world.deliver(pack(1), times=10)
    world.exit(signal=9)
    assert len(world.of(Nak)) == 1


def test_a_kill_for_memory_is_told_at_once(world: World) -> None:
    """The error says how much it took."""
    world.container()
    world.deliver(pack())
    world.exit(oom=True, signal=9, reason="took 300 MiB")
    error = world.of(Settle)[0].results[0].error
    assert error.kind == "memory"
    assert "300 MiB" in error.message


def test_a_pack_of_many_that_runs_out_of_memory_is_taken_apart(world: World) -> None:
    """Which of its inputs was to blame shows when each runs alone."""
    world.container()
    world.deliver(pack(0, 2))
    world.exit(oom=True, signal=9)
    assert [m.input_index for m in world.of(Settle)[0].moved] == [0, 1]


def test_a_failed_start_is_the_result_of_what_waits(world: World) -> None:
    """An import error reaches the caller."""
    world.container(ready=False)
    world.deliver(pack())
    world.take(world.pool.lives.failed("ta-1", raised("startup"), world.now))
    assert world.of(Settle)[0].results[0].error == raised("startup")


def test_a_failed_start_is_also_the_result_of_what_comes_just_after(world: World) -> None:
    """The delivery that was asked for may arrive when the container is gone already."""
    world.container(ready=False)
    world.take(world.pool.lives.failed("ta-1", raised("startup"), world.now))
    world.exit(exit_code=1)
    world.deliver(pack())
    assert world.of(Settle)[0].results[0].error == raised("startup")


def test_a_failed_start_harms_nobody_who_has_a_ready_container(world: World) -> None:
    """What waits is for the container that works."""
    world.container("ta-1")
    world.container("ta-2", ready=False)
    world.deliver(pack(0))
    world.deliver(pack(1))
    world.take(world.pool.lives.failed("ta-2", raised("startup"), world.now))
    assert not world.of(Settle)
    assert world.naks() == [Nak(2, 0.0)]


def test_a_container_that_dies_while_it_loads_is_a_failed_start(world: World) -> None:
    """os._exit in a module, or a crash in an extension, reaches the caller."""
    world.container(ready=False)
    world.deliver(pack())
    world.exit(exit_code=3)
    error = world.of(Settle)[0].results[0].error
    assert (error.kind, error.exit_code) == ("startup", 3)


def test_a_start_that_the_platform_spoilt_sends_back_what_waits(world: World) -> None:
    """Nobody is blamed for a template that died."""
    world.container(ready=False)
    world.deliver(pack())
    world.exit(platform=True)
    assert world.naks() == [Nak(1, 0.0)]


def test_a_container_that_is_not_ready_in_time_is_killed(world: World) -> None:
    """Those who wait are told of the startup timeout."""
    world.container(ready=False, startup_timeout=5.0)
    world.deliver(pack())
    assert Kill("ta-1") in world.wait(5.0)
    world.exit(signal=9)
    assert "startup timeout of 5 s" in world.of(Settle)[0].results[0].error.message


def test_what_the_platform_takes_is_not_the_functions_time(world: World) -> None:
    """The startup timeout counts from the moment that the process is there."""
    world.container(begun=False, startup_timeout=5.0)
    assert Kill("ta-1") not in world.wait(20.0)
    world.take(world.pool.lives.begun("ta-1", 7, world.now))
    assert Kill("ta-1") not in world.wait(4.0)
    assert Kill("ta-1") in world.wait(1.0)


# -- the end, and the rest ---------------------------------------------------------------------------------


def test_a_draining_worker_sends_back_what_waits(world: World) -> None:
    """It pulls no more, lets run what runs, and takes nothing new."""
    world.container("ta-1")
    world.container("ta-2", ready=False)
    world.deliver(pack(0))
    world.deliver(pack(1))
    world.take(world.pool.drain(world.now, grace=5.0))
    assert world.naks() == [Nak(2, 0.0)]
    assert world.of(Unpull)
    assert Kill("ta-2") in world.said
    world.deliver(pack(2))
    assert Nak(3, 0.0) in world.naks()


def test_a_single_use_container_ends_after_its_input(world: World) -> None:
    """One input, then it stops, and nothing was asked for behind it."""
    world.container(single_use=True)
    world.deliver(pack())
    world.answer()
    assert world.of(Send) == [Send("ta-1", guest.Stop(grace_s=30.0))]


def test_a_pack_of_many_for_single_use_containers_is_taken_apart(world: World) -> None:
    """Each input needs a container of its own."""
    world.container(single_use=True)
    world.deliver(pack(0, 2))
    assert [m.input_index for m in world.of(Settle)[0].moved] == [0, 1]


def test_a_container_is_idle_since_its_last_result(world: World) -> None:
    """The scheduler scales down by this."""
    world.container()
    world.deliver(pack())
    world.wait(1.0)
    world.answer()
    assert world.pool.containers["ta-1"].idle_since == world.now


def test_nothing_waits_behind_one_that_waits_itself(world: World) -> None:
    """What it waits for may be the very pack behind it: that goes back, and nothing more is asked for."""
    world.container()
    world.deliver(pack(0), "hi")
    world.wait(0.001)
    world.answer()
    world.deliver(pack(1), "hi")
    world.deliver(pack(2), "hi")
    said = world.pool.lives.waits("ta-1", "session", 1, world.now)
    assert said is not None
    world.take(said)
    assert not world.of(Pull)
    world.give_back()
    assert [nak.delivery for nak in world.naks()] == [3]
    assert not world.of(Pull)


def test_waiting_is_told_once_and_forgotten_with_the_pack(world: World) -> None:
    """Repeats change nothing, each client inside is counted, and an idle container waits for nobody."""
    world.container()
    assert world.pool.lives.waits("ta-1", "a", 1, world.now) is None
    world.deliver(pack(0))
    assert world.pool.lives.waits("ta-1", "a", 1, world.now) is not None
    assert world.pool.lives.waits("ta-1", "a", 3, world.now) is None
    assert world.pool.lives.waits("ta-1", "b", 1, world.now) is None
    assert world.pool.lives.waits("ta-1", "a", 0, world.now) is None
    container = world.pool.containers["ta-1"]
    assert (container.waiting, container.waits) == (True, {"b": 1})
    world.answer()
    assert (container.waiting, container.waits) == (False, {})
    assert world.pool.lives.waits("ta-gone", "a", 1, world.now) is None


def test_a_container_that_retires_finishes_what_it_runs(world: World) -> None:
    """It gets nothing new, ends in its own time without being hurried, and then stops."""
    world.container(timeout=1000.0)
    world.deliver(pack(0))
    world.take(world.pool.lives.retire("ta-1", world.now))
    assert world.of(Unpull)
    assert {type(item) for item in world.wait(900.0)} == {Progress}
    said = world.answer()
    assert [s.frame for s in said if isinstance(s, Send)] == [guest.Stop(grace_s=30.0)]


def test_an_idle_container_retires_at_once(world: World) -> None:
    """There is nothing to wait for; twice is once."""
    world.container()
    world.take(world.pool.lives.retire("ta-1", world.now))
    assert [s.frame for s in world.of(Send)] == [guest.Stop(grace_s=30.0)]
    assert world.pool.lives.retire("ta-1", world.now) == []


def test_run_time_is_what_the_guest_says(world: World) -> None:
    """A busy worker or link is no reason for more containers, so the mean is of the seconds that the inputs ran."""
    world.container()
    world.deliver(pack(0, 2))
    world.wait(0.5)
    results = [InputResult(index=i, status="ok", value=b"", run_s=0.001) for i in range(2)]
    world.answer("ta-1", *results)
    assert world.pool.functions["fu-1"].mean == pytest.approx(0.002)


def test_late_frames_of_a_lost_pack_are_for_nobody(world: World) -> None:
    """A frame with an old token changes nothing."""
    world.container()
    frame = guest.Results(token=99, results=(InputResult(index=0, status="ok"),))
    assert not world.pool.results("ta-1", frame, world.now)
    assert not world.pool.results("ta-9", frame, world.now)


def test_functions_without_containers_are_forgotten_at_last(world: World) -> None:
    """What is known of them stays within a bound."""
    for number in range(1100):
        world.take(world.pool.lives.requested("ta-1", record(f"fu-{number}"), world.now))
        world.exit(platform=True)
    assert len(world.pool.functions) <= 1024


def test_a_pack_that_an_earlier_run_ended_is_only_acknowledged(world: World) -> None:
    """And the arguments of what went on by itself are kept."""
    world.container()
    world.deliver(pack(size=3), times=2, fetch=True)
    (held,) = world.fetching
    world.take(world.pool.ended_before(held, frozenset({1}), world.now))
    assert world.of(Settle) == [Settle(held, (), (), "")]
    assert held.going_on == {1}
    world.store()
    assert world.of(Ack)
    assert not world.pool.held


def test_what_was_cancelled_while_an_earlier_run_was_looked_for_stays_cancelled(world: World) -> None:
    """The answer comes too late."""
    world.container()
    world.deliver(pack(), times=2, fetch=True)
    (held,) = world.fetching
    world.take(world.pool.cancels.call(CALL, (), world.now, terminate=False))
    assert world.pool.ended_before(held, frozenset(), world.now) == []


def test_an_unknown_error_stays_with_the_fetch(world: World) -> None:
    """A pack whose arguments cannot be fetched for now goes back, and counts a loss."""
    world.container()
    world.deliver(pack(), fetch=True)
    error: ErrorInfo | None = None
    world.take(world.pool.fetch_failed(world.fetching[0], error, world.now))
    assert Nak(1, 1.0) in world.naks()


# -- what is told of containers -------------------------------------------------------------------------------


def test_a_start_that_failed_by_the_function_s_own_fault_is_told_with_its_error(world: World) -> None:
    """The scheduler counts these."""
    world.container(ready=False)
    world.take(world.pool.lives.failed("ta-1", raised("startup"), world.now))
    assert [report.error for report in world.of(Report)] == [raised("startup")]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ({"exit_code": 3}, "startup"),
        ({"oom": True, "signal": 9}, "memory"),
        ({"platform": True}, None),
    ],
)
def test_a_container_that_dies_while_it_loads_is_told_with_its_error(
    world: World, end: dict[str, Any], kind: str | None
) -> None:
    """Unless the platform is to blame."""
    world.container(ready=False)
    world.exit(**end)
    (report,) = world.of(Report)
    assert report.kind == "container.failed"
    assert (report.error.kind if report.error else None) == kind


def test_a_start_that_took_too_long_is_told_with_its_error(world: World) -> None:
    """It is the function's own code that takes its time."""
    world.container(ready=False, startup_timeout=5.0)
    world.wait(5.0)
    world.exit(signal=9)
    assert "startup timeout" in world.of(Report)[0].error.message


def test_a_container_that_ran_is_no_failed_start(world: World) -> None:
    """Whatever ends it later is told without an error."""
    world.container()
    world.deliver(pack())
    world.exit(signal=11)
    assert [(report.kind, report.error) for report in world.of(Report)] == [("container.failed", None)]


def test_what_a_guest_notices_is_told(world: World) -> None:
    """As an event of its container."""
    world.container()
    said = world.pool.lives.noticed("ta-1", "it cannot be forked")
    assert [(r.kind, r.detail) for r in said if isinstance(r, Report)] == [
        ("container.notice", "it cannot be forked")
    ]
    assert not world.pool.lives.noticed("ta-gone", "")


def test_the_method_goes_to_the_guest(world: World) -> None:
    """Of a class, a pack is for one of its methods."""
    world.container()
    world.deliver(pack(method="predict"))
    assert [run.method for run in world.runs()] == ["predict"]
