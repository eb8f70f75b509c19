"""What becomes of inputs when one of them fails, or their container ends."""

from dataclasses import replace
from typing import Any

import pytest

from afield._wire.messages import InputResult
from afield_worker import attempts, outcomes
from afield_worker.attempts import Exit
from afield_worker.container import Container, Verdict
from afield_worker.held import Held, Interruption
from afield_worker.slots import Slots
from support.pool import pack, raised, record, retries


def running(
    size: int,
    *,
    verdict: Verdict = "",
    interrupted: Interruption = "",
    killed: bool = False,
    times: int = 1,
    seen: int = 0,
    losses: int = 0,
    **spec: Any,
) -> tuple[Container, Held]:
    """A container that runs a pack."""
    container = Container("ta-1", Slots(record(**spec)), 0.0)
    container.verdict, container.killed = verdict, killed
    held = Held(
        1,
        "in.0.main.fu-1.lo.fc-s-0-1.0-1.1",
        "lo",
        pack(0, size, losses=losses),
        object(),
        times,
        0.0,
        losses_seen=seen,
    )
    held.start("ta-1", 0.0)
    held.begun, held.verdict = True, interrupted
    container.running[held.token] = held
    return container, held


def statuses(held: Held) -> list[str]:
    """How the inputs ended, in order; `-` for those without an end."""
    first = held.pack.first
    return [held.results[i].status if i in held.results else "-" for i in range(first, first + held.size)]


@pytest.mark.parametrize(
    ("size", "interrupted", "killed", "expected"),
    [
        (1, "", False, ["-"]),
        (1, "timeout", True, ["error"]),
        (1, "return", True, ["-"]),
        (1, "", True, ["-"]),
        (3, "", False, ["moved"] * 3),
        (3, "timeout", True, ["moved"] * 3),
        (3, "", True, ["moved"] * 3),
    ],
)
def test_an_end_of_the_container(
    size: int, interrupted: Interruption, killed: bool, expected: list[str]
) -> None:
    """A pack of one goes back to the stream, a larger one is taken apart; a timeout is an answer."""
    container, held = running(size, interrupted=interrupted, killed=killed)
    outcomes.container_lost(container, held, Exit(signal=9))
    assert statuses(held) == expected


def test_only_a_loss_that_nobody_intended_is_counted() -> None:
    """A container that its worker stopped harms no input."""
    for killed, losses in ((False, 1), (True, 0)):
        container, held = running(2, verdict="stop" if killed else "", killed=killed)
        outcomes.container_lost(container, held, Exit(signal=9))
        assert [m.losses for m in held.moved] == [losses, losses]


def test_the_platforms_fault_is_no_input_s_loss() -> None:
    """A template that died says nothing about what ran."""
    container, held = running(2, times=8)
    outcomes.container_lost(container, held, Exit(platform=True))
    assert statuses(held) == ["moved", "moved"]


def test_what_a_container_had_not_begun_when_it_stopped_is_not_lost() -> None:
    """It was asked to stop, and did so in good order."""
    container, held = running(1, verdict="stop")
    assert not outcomes.container_lost(container, held, Exit(exit_code=0))
    assert outcomes.container_lost(container, held, Exit(signal=11))


def test_deliveries_that_came_back_unharmed_do_not_end_an_input() -> None:
    """They look like losses to a worker that did not send them back; two losses must be certain."""
    for seen, losses, expected in ((0, 0, "-"), (1, 0, "error"), (0, 1, "error")):
        container, held = running(1, times=9, seen=seen, losses=losses)
        outcomes.container_lost(container, held, Exit(signal=9))
        assert statuses(held) == [expected]


def test_memory_is_blamed_on_one_that_ran_alone() -> None:
    """Of several that ran side by side, nobody knows which one took it."""
    container, held = running(1)
    outcomes.container_lost(container, held, Exit(oom=True, signal=9), beside=1)
    assert statuses(held) == ["-"]
    outcomes.container_lost(container, held, Exit(oom=True, signal=9, reason="took 3 MiB"))
    assert held.results[0].error is not None
    assert held.results[0].error.kind == "memory"


def test_what_never_began_is_lost_not_late() -> None:
    """A batched function that begins nothing has no time to blame an input for."""
    container, held = running(1, interrupted="timeout", killed=True)
    held.begun = False
    assert outcomes.container_lost(container, held, Exit(signal=9))
    assert statuses(held) == ["-"]


def test_an_input_that_was_handed_over_goes_back() -> None:
    """The guest says what it says of a cancellation."""
    _, one = running(1, interrupted="return")
    cancelled = InputResult(index=0, status="cancelled")
    assert not outcomes.reported(record().spec, one, cancelled)
    _, several = running(2, interrupted="return")
    several.cancelled = frozenset({1})
    for index in (0, 1):
        result = InputResult(index=index, status="cancelled")
        assert outcomes.reported(record().spec, several, result)
    assert statuses(several) == ["moved", "cancelled"]


def test_the_error_of_the_last_attempt_has_the_history_of_the_others() -> None:
    """As the pack brought it."""
    earlier = attempts.past(1, raised(), 5.0)
    _, held = running(1)
    held.pack = pack(0, 1, attempt=2, history=(earlier,))
    result = InputResult(index=0, status="error", error=raised())
    outcomes.failed(record().spec, held, result, raised())
    assert held.results[0].error == replace(raised(), history=(earlier,))


def test_a_guest_that_says_what_it_cannot_know_is_not_believed() -> None:
    """An input that a guest calls moved went nowhere."""
    _, held = running(1)
    outcomes.reported(record().spec, held, InputResult(index=0, status="moved"))
    assert statuses(held) == ["error"]


def test_cancelled_inputs_end_the_others_go_on() -> None:
    """Whichever of them made the container ignore its interrupt."""
    container, held = running(3, interrupted="cancel", killed=True)
    held.cancelled = frozenset({1})
    outcomes.container_lost(container, held, Exit(signal=9))
    assert statuses(held) == ["moved", "cancelled", "moved"]


def test_an_interrupted_input_that_was_cancelled_is_cancelled() -> None:
    """Even if the guest took the interrupt for a timeout."""
    container, held = running(1, retries=retries(3))
    held.cancelled = frozenset({0})
    result = InputResult(index=0, status="error", error=raised("timeout"))
    outcomes.failed(container.function.record.spec, held, result, raised("timeout"))
    assert statuses(held) == ["cancelled"]


def test_a_cancelled_input_is_not_tried_again() -> None:
    """Its own exception stands, if it was quicker."""
    container, held = running(1, retries=retries(3))
    held.cancelled = frozenset({0})
    result = InputResult(index=0, status="error", error=raised())
    outcomes.failed(container.function.record.spec, held, result, raised())
    assert statuses(held) == ["error"]
