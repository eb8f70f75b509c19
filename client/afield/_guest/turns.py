"""User code at work: what it is at, whether it was interrupted, and how that ends the input."""

import time
from collections.abc import Callable
from typing import Final, Self

from afield._guest.endings import leave_if_forked
from afield._guest.link import Link
from afield._guest.outcomes import Interruption, Outcomes, Phase
from afield._wire.messages import InputResult
from afield.exception import InputCancellation
from afield.serialization import Serialized

RAISED: Final[dict[Interruption, type[BaseException]]] = {
    "cancelled": InputCancellation,
    "timeout": InputCancellation,
    "preempted": KeyboardInterrupt,
}
"""What an interruption raises inside synchronous code."""

INTERRUPTIONS: Final = (InputCancellation, KeyboardInterrupt)


class Turn:
    """One go of user code, at an input or at a batch of them. How it is interrupted is a matter of each loop."""

    __slots__ = ("_link", "_outcomes", "began", "index", "interrupted", "phase")

    def __init__(self, link: Link, outcomes: Outcomes, index: int = 0, now: float = 0.0) -> None:
        """It begins with the input `index` (of a batch: its first) at `now`, monotonic."""
        self._link = link
        self._outcomes = outcomes
        self.index = index
        self.began = now
        self.phase: Phase = "deserialization"
        self.interrupted: Interruption | None = None

    def begin(self, index: int, now: float) -> Self:
        """Begin with another input, when nobody else can still mean the one before. Returns this object."""
        self.index = index
        self.began = now
        self.phase = "deserialization"
        self.interrupted = None
        return self

    def ran(self) -> float:
        """Return for how many seconds it has been at work."""
        return time.monotonic() - self.began

    # -- from whoever reads the link ----------------------------------------------------------------------

    def interrupt(self, why: Interruption) -> None:
        """Have user code end, wherever it is. The first reason stands."""
        raise NotImplementedError

    def credited(self) -> None:
        """A generator that waits for credit may have some."""

    # -- how an input ends; None: not here, it runs again elsewhere ------------------------------------------

    def ok(self, call_id: str, index: int, data: Serialized) -> InputResult:
        """User code returned a value."""
        leave_if_forked(self._link, None)
        if self.interrupted is not None and (result := self._unheeded(call_id, index)):
            return result
        return self._outcomes.ok(index, data, call_id, time.monotonic() - self.began)

    def ended(self, call_id: str, index: int) -> InputResult:
        """A generator yielded its last value."""
        leave_if_forked(self._link, None)
        return self._unheeded(call_id, index) or self._outcomes.ended(index, self.ran())

    def failed(
        self, call_id: str, index: int, error: BaseException, phase: Phase | None = None
    ) -> InputResult | None:
        """User code raised."""
        leave_if_forked(self._link, error)
        if self.interrupted == "preempted":
            return None
        if self.interrupted is not None:
            return self._outcomes.interrupted(index, self.interrupted, error, call_id, self.ran())
        return self._outcomes.failed(index, error, phase or self.phase, call_id, self.ran())

    def not_begun(self, call_id: str, index: int) -> InputResult:
        """It was cancelled before its turn."""
        return self._outcomes.interrupted(index, "cancelled", None, call_id, 0.0)

    def _unheeded(self, call_id: str, index: int) -> InputResult | None:
        """Return how an input ends that was interrupted, and went on to its end all the same."""
        if self.interrupted is None or self.interrupted == "preempted":
            return None  # it was done before the container is gone: so much the better
        return self._outcomes.interrupted(index, self.interrupted, None, call_id, self.ran())


class SyncTurn(Turn):
    """A turn of synchronous code: an interruption raises inside it, while it is armed and at no other time."""

    __slots__ = ()

    def arm(self) -> None:
        """From here on an interruption raises; one that came before does so now."""
        raise NotImplementedError

    def disarm(self) -> None:
        """From here on nothing raises.

        An interruption may still hit this very call. So whoever calls it does so again in an `except` around it: there
        is one interruption at most, and behind the second call there is none.
        """
        raise NotImplementedError

    def wait(self, enough: Callable[[], bool]) -> None:
        """Wait until `enough()`, or until there is an interruption. Not armed."""
        raise NotImplementedError
