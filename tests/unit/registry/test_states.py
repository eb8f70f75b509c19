"""afield_registry.states: the table of an app's life."""

from itertools import product
from typing import get_args

import pytest

from afield._wire.functions import AppState
from afield_common.errors import RefusedError
from afield_registry.states import INITIAL, TRANSITIONS, AppEvent, next_state


@pytest.mark.parametrize(("state", "event"), list(product(get_args(AppState), get_args(AppEvent))))
def test_table_is_obeyed(state: AppState, event: AppEvent) -> None:
    """What the table has is the next state, what it lacks is refused as a conflict."""
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) == TRANSITIONS[state, event]
    else:
        with pytest.raises(RefusedError, match=state) as caught:
            next_state(state, event)
        assert caught.value.code == "conflict"


def test_stopped_is_final() -> None:
    """Nothing leads out of `stopped`, and everything leads there."""
    assert all(state != "stopped" for state, _ in TRANSITIONS)
    assert {state for (state, event) in TRANSITIONS if event == "stop"} == set(INITIAL)


def test_only_ephemeral_apps_lapse() -> None:
    """A detached or deployed app does not depend on its client."""
    assert [state for state, event in TRANSITIONS if event == "lapse"] == ["ephemeral"]
