"""The life of an app, as a table: (state, event) to the next state. What the table lacks is refused."""

from typing import Final, Literal, get_args

from afield._wire.functions import AppState
from afield_common.errors import RefusedError

AppEvent = Literal[
    "publish",  # functions are added or replaced
    "beat",  # its client lives
    "lapse",  # its client missed too many heartbeats
    "stop",  # somebody asked for it
]

TRANSITIONS: Final[dict[tuple[AppState, AppEvent], AppState]] = {
    ("ephemeral", "publish"): "ephemeral",
    ("ephemeral", "beat"): "ephemeral",
    ("ephemeral", "lapse"): "stopped",
    ("ephemeral", "stop"): "stopped",
    ("detached", "publish"): "detached",
    ("detached", "beat"): "detached",
    ("detached", "stop"): "stopped",
    ("deployed", "publish"): "deployed",
    ("deployed", "stop"): "stopped",
}

INITIAL: Final[tuple[AppState, ...]] = ("ephemeral", "detached", "deployed")
"""States in which an app may be created."""

RUNNING: Final = tuple(state for state in get_args(AppState) if state != "stopped")
"""States in which an app has functions that can be called."""


def next_state(state: AppState, event: AppEvent) -> AppState:
    """Return the state after `event`. Raises RefusedError (`conflict`) when `event` has no place in `state`."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise RefusedError("conflict", f"an app that is {state} cannot take the event {event!r}") from None
