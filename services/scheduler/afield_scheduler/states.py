"""The lifecycles of a call and of a worker as the scheduler sees them, as tables: (state, event) -> next state.

A miss raises and changes nothing. The diagrams in ARCHITECTURE.md are drawn from these tables.
"""

from typing import Final, Literal

CallPhase = Literal["unknown", "pending", "finished", "cancelled"]
CallEvent = Literal[
    "publish",  # an input is stored, or its next attempt
    "finish",  # the last of the inputs has its result
    "cancel",  # what had no result yet was ended, because somebody asked, or the app was stopped
    "forget",  # the results are gone: taken by the caller, or their time is over
]

CALL: Final[dict[tuple[CallPhase, CallEvent], CallPhase]] = {
    ("unknown", "publish"): "pending",
    # A call whose inputs are all gone cannot be told from one that never was.
    ("unknown", "cancel"): "unknown",
    ("unknown", "forget"): "unknown",
    ("pending", "publish"): "pending",
    ("pending", "finish"): "finished",
    ("pending", "cancel"): "cancelled",
    ("pending", "forget"): "pending",
    # A long map publishes bit by bit.
    ("finished", "publish"): "pending",
    ("finished", "cancel"): "finished",
    ("finished", "forget"): "unknown",
    # Final: a retry that is published meanwhile is ended too, and a result that comes now loses.
    ("cancelled", "publish"): "cancelled",
    ("cancelled", "finish"): "cancelled",
    ("cancelled", "cancel"): "cancelled",
    ("cancelled", "forget"): "unknown",
}

WorkerPhase = Literal["gone", "alive", "draining"]
WorkerEvent = Literal[
    "report",  # its record came, with `draining` or without
    "drain",
    "leave",  # its record was deleted, or lapsed
]

WORKER: Final[dict[tuple[WorkerPhase, WorkerEvent], WorkerPhase]] = {
    # Also one whose record had lapsed while its host stood still.
    ("gone", "report"): "alive",
    ("gone", "drain"): "draining",
    ("gone", "leave"): "gone",
    ("alive", "report"): "alive",
    ("alive", "drain"): "draining",
    ("alive", "leave"): "gone",
    # Who drains takes nothing new for good, so it never just reports again.
    ("draining", "drain"): "draining",
    ("draining", "leave"): "gone",
}


class TransitionError(RuntimeError):
    """Raised when an event does not fit the state: a bug of the platform."""

    def __init__(self, noun: str, state: str, event: str, allowed: list[str]) -> None:
        expected = ", ".join(allowed) or "nothing: it is over"
        super().__init__(f"a {state} {noun} cannot take the event {event!r}; expected {expected}")
        self.state = state
        self.event = event


def next_call(state: CallPhase, event: CallEvent) -> CallPhase:
    """Return the call's next state. Raises TransitionError for an event that does not fit."""
    after = CALL.get((state, event))
    if after is None:
        raise TransitionError("call", state, event, [e for s, e in CALL if s == state])
    return after


def next_worker(state: WorkerPhase, event: WorkerEvent) -> WorkerPhase:
    """Return the worker's next state. Raises TransitionError for an event that does not fit."""
    after = WORKER.get((state, event))
    if after is None:
        raise TransitionError("worker", state, event, [e for s, e in WORKER if s == state])
    return after


def call_phase(*, stored: bool, pending: bool, cancelled: bool) -> CallPhase:
    """Return the state of a call from what its streams hold.

    `stored`: anything at all; `pending`: inputs without a result; `cancelled`: results that say so.
    """
    state: CallPhase = "unknown"
    if stored:
        state = next_call(state, "publish")
    if stored and not pending:
        state = next_call(state, "cancel" if cancelled else "finish")
    return state
