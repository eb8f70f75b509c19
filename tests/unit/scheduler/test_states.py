"""afield_scheduler.states: lifecycles of calls and workers."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield_scheduler.states import (
    CALL,
    WORKER,
    CallEvent,
    CallPhase,
    TransitionError,
    WorkerEvent,
    WorkerPhase,
    call_phase,
    next_call,
    next_worker,
)


@pytest.mark.parametrize("state", get_args(CallPhase))
@pytest.mark.parametrize("event", get_args(CallEvent))
def test_calls_take_what_the_table_has(state: CallPhase, event: CallEvent) -> None:
    """Every other event raises, and says what was expected."""
    if (state, event) in CALL:
        assert next_call(state, event) == CALL[state, event]
    else:
        with pytest.raises(TransitionError, match="expected"):
            next_call(state, event)


@pytest.mark.parametrize("state", get_args(WorkerPhase))
@pytest.mark.parametrize("event", get_args(WorkerEvent))
def test_workers_take_what_the_table_has(state: WorkerPhase, event: WorkerEvent) -> None:
    """Every other event raises, and says what was expected."""
    if (state, event) in WORKER:
        assert next_worker(state, event) == WORKER[state, event]
    else:
        with pytest.raises(TransitionError, match="expected"):
            next_worker(state, event)


@given(st.lists(st.sampled_from(["publish", "finish", "cancel"])))
def test_cancelled_is_final(events: list[CallEvent]) -> None:
    """Whatever comes afterwards; only with its results is it forgotten."""
    state: CallPhase = "cancelled"
    for event in events:
        state = next_call(state, event)
        assert state == "cancelled"


@pytest.mark.parametrize(
    ("stored", "pending", "cancelled", "state"),
    [
        (False, False, False, "unknown"),
        (True, True, False, "pending"),
        (True, True, True, "pending"),
        (True, False, False, "finished"),
        (True, False, True, "cancelled"),
    ],
)
def test_call_phase(stored: bool, pending: bool, cancelled: bool, state: CallPhase) -> None:
    """What the streams hold says where a call is; one that is being cancelled is pending until all of it has ended."""
    assert call_phase(stored=stored, pending=pending, cancelled=cancelled) == state
