"""The lifecycles of a container, of a pack and of an input on this worker, as tables: (state, event) -> next state.

A miss raises and changes nothing. The diagrams in ARCHITECTURE.md are drawn from these tables.
"""

from typing import Final, Literal

from afield._wire.messages import Status

ContainerPhase = Literal["starting", "ready", "stopping", "gone"]
ContainerEvent = Literal["ready", "failed", "stop", "exit"]

CONTAINER: Final[dict[tuple[ContainerPhase, ContainerEvent], ContainerPhase]] = {
    ("starting", "ready"): "ready",
    ("starting", "failed"): "stopping",
    ("starting", "stop"): "stopping",
    ("starting", "exit"): "gone",
    ("ready", "stop"): "stopping",
    ("ready", "exit"): "gone",
    # The guest may have become ready, or have failed, before it read that it should stop.
    ("stopping", "ready"): "stopping",
    ("stopping", "failed"): "stopping",
    ("stopping", "stop"): "stopping",
    ("stopping", "exit"): "gone",
}

PackPhase = Literal["fetching", "waiting", "sent", "running", "storing", "acked", "returned"]
PackEvent = Literal["fetched", "send", "recalled", "start", "settle", "stored", "give_back"]

PACK: Final[dict[tuple[PackPhase, PackEvent], PackPhase]] = {
    # Arguments in the stream tier are brought to this host first.
    ("fetching", "fetched"): "waiting",
    ("waiting", "start"): "running",
    # A container that runs quick packs has its next ones before it has ended the one before.
    ("waiting", "send"): "sent",
    ("sent", "start"): "running",
    ("sent", "recalled"): "waiting",
    # The one before it had ended, and the container gave it back instead of beginning it.
    ("running", "recalled"): "waiting",
    ("sent", "settle"): "storing",
    ("sent", "give_back"): "returned",
    ("running", "settle"): "storing",
    # Cancelled, or ended by the start-up error of its container, before it ran.
    ("waiting", "settle"): "storing",
    ("fetching", "settle"): "storing",
    # Only a result that the stream holds allows the acknowledgement.
    ("storing", "stored"): "acked",
    ("storing", "give_back"): "returned",
    ("running", "give_back"): "returned",
    ("waiting", "give_back"): "returned",
    ("fetching", "give_back"): "returned",
}

PACK_ENDS: Final[frozenset[PackPhase]] = frozenset({"acked", "returned"})

InputPhase = Literal["waiting", "running", "succeeded", "failed", "cancelled", "retrying", "moved"]
InputEvent = Literal["start", "recalled", "value", "error", "cancel", "retry", "move"]

INPUT: Final[dict[tuple[InputPhase, InputEvent], InputPhase]] = {
    ("waiting", "start"): "running",
    ("running", "recalled"): "waiting",
    # Its arguments are gone, or no container can be made ready.
    ("waiting", "error"): "failed",
    ("waiting", "cancel"): "cancelled",
    # It needs a container of its own.
    ("waiting", "move"): "moved",
    ("running", "value"): "succeeded",
    ("running", "error"): "failed",
    ("running", "cancel"): "cancelled",
    # The next attempt is a pack of its own; the stream keeps it, and its delay.
    ("running", "retry"): "retrying",
    # So is the same attempt, begun once more, when something else ended the one before.
    ("running", "move"): "moved",
}

INPUT_STATUS: Final[dict[InputPhase, Status]] = {
    "succeeded": "ok",
    "failed": "error",
    "cancelled": "cancelled",
    "retrying": "moved",
    "moved": "moved",
}
"""What the result of a pack says of an input that ended so. A pack of one that is returned as it is tells nothing."""


class TransitionError(RuntimeError):
    """Raised when an event does not fit the state: a bug of the worker, never of the user."""

    def __init__(self, noun: str, state: str, event: str, allowed: list[str]) -> None:
        expected = ", ".join(allowed) or "nothing: it is over"
        super().__init__(f"a {state} {noun} cannot take the event {event!r}; expected {expected}")
        self.state = state
        self.event = event


def next_container(state: ContainerPhase, event: ContainerEvent) -> ContainerPhase:
    """Return the container's next state. Raises TransitionError for an event that does not fit."""
    after = CONTAINER.get((state, event))
    if after is None:
        raise TransitionError("container", state, event, [e for s, e in CONTAINER if s == state])
    return after


def next_pack(state: PackPhase, event: PackEvent) -> PackPhase:
    """Return the pack's next state. Raises TransitionError for an event that does not fit."""
    after = PACK.get((state, event))
    if after is None:
        raise TransitionError("pack", state, event, [e for s, e in PACK if s == state])
    return after


def next_input(state: InputPhase, event: InputEvent) -> InputPhase:
    """Return the input's next state. Raises TransitionError for an event that does not fit."""
    after = INPUT.get((state, event))
    if after is None:
        raise TransitionError("input", state, event, [e for s, e in INPUT if s == state])
    return after
