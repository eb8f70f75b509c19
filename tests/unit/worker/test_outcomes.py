"""What becomes of inputs when one of them fails, or their container ends."""

from typing import Any

import pytest

from afield._wire.messages import InputResult
from afield_worker import outcomes
from afield_worker.attempts import Exit
from afield_worker.held import Held
from afield_worker.slots import Container, Slots, Verdict
from support.pool import pack, raised, record, retries


def running(
    size: int, *, verdict: Verdict = "", killed: bool = False, times: int = 1, **spec: Any
) -> tuple[Container, Held]:
    """A container that runs a pack."""
    container = Container("ta-1", Slots(record(**spec)), 0.0)
    container.verdict, container.killed = verdict, killed
    held = Held(1, "in.0.main.fu-1.lo.fc-s-0-1.0-1.1", "lo", pack(0, size), object(), times, 0.0)
    container.running = held
    return container, held


def statuses(held: Held) -> list[str]:
    """How the inputs ended, in order; `-` for those without an end."""
    first = held.pack.first
    return [held.results[i].status if i in held.results else "-" for i in range(first, first + held.size)]


@pytest.mark.parametrize(
    ("size", "verdict", "killed", "expected"),
    [
        (1, "", False, ["-"]),
        (1, "timeout", True, ["error"]),
        (1, "stop", True, ["-"]),
        (3, "", False, ["moved"] * 3),
        (3, "timeout", True, ["moved"] * 3),
        (3, "stop", True, ["moved"] * 3),
    ],
)
def test_an_end_of_the_container(size: int, verdict: Verdict, killed: bool, expected: list[str]) -> None:
    """A pack of one goes back to the stream, a larger one is taken apart; a timeout is an answer."""
    container, held = running(size, verdict=verdict, killed=killed)
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


def test_cancelled_inputs_end_the_others_go_on() -> None:
    """Whichever of them made the container ignore its interrupt."""
    container, held = running(3, verdict="cancel", killed=True)
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
