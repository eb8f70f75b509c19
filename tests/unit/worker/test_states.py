"""The lifecycle tables."""

from typing import get_args

import pytest

from afield_worker.states import (
    CONTAINER,
    INPUT,
    INPUT_STATUS,
    PACK,
    PACK_ENDS,
    ContainerPhase,
    InputPhase,
    PackPhase,
    TransitionError,
    next_container,
    next_input,
    next_pack,
)


def test_a_container_goes_from_starting_to_gone() -> None:
    """The ordinary life of a container is in the table."""
    assert next_container("starting", "ready") == "ready"
    assert next_container("ready", "stop") == "stopping"
    assert next_container("stopping", "exit") == "gone"


def test_a_miss_raises_and_names_what_was_expected() -> None:
    """An event that does not fit is a bug, and the error says what would have fitted."""
    with pytest.raises(
        TransitionError, match=r"a ready container cannot take the event 'failed'; expected stop, exit"
    ):
        next_container("ready", "failed")


def test_a_result_that_is_not_stored_cannot_be_acknowledged() -> None:
    """Only the storing phase leads to acked."""
    assert {state for (state, _), after in PACK.items() if after == "acked"} == {"storing"}
    with pytest.raises(TransitionError):
        next_pack("running", "stored")


def test_nothing_follows_an_end() -> None:
    """A pack that was acknowledged or sent back takes no event, nor does a container that is gone."""
    assert not [state for state, _ in PACK if state in PACK_ENDS]
    assert not [state for state, _ in CONTAINER if state == "gone"]


@pytest.mark.parametrize("phase", get_args(PackPhase))
def test_every_pack_phase_can_end(phase: PackPhase) -> None:
    """From every phase some chain of events leads to an end."""
    reached = {phase}
    while more := {after for (state, _), after in PACK.items() if state in reached} - reached:
        reached |= more
    assert reached & PACK_ENDS


@pytest.mark.parametrize("phase", get_args(ContainerPhase))
def test_every_container_phase_can_end(phase: ContainerPhase) -> None:
    """A container can exit in any phase."""
    assert phase == "gone" or next_container(phase, "exit") == "gone"


def test_an_attempt_ends_once() -> None:
    """What has ended takes no event, and each end has its word in the result."""
    ends = set(INPUT.values()) - {state for state, _ in INPUT}
    assert ends == set(INPUT_STATUS)


@pytest.mark.parametrize("phase", get_args(InputPhase))
def test_every_input_can_be_cancelled_until_it_has_ended(phase: InputPhase) -> None:
    """Whether it runs or waits."""
    assert phase in INPUT_STATUS or next_input(phase, "cancel") == "cancelled"


def test_only_what_runs_has_a_value_or_another_attempt() -> None:
    """An input that waits has done nothing yet."""
    for event in ("value", "retry"):
        assert {state for (state, e) in INPUT if e == event} == {"running"}
