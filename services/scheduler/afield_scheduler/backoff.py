"""How long a function whose containers fail must wait for the next one, and when there is no hope. Pure; seconds, monotonic."""

from typing import Final, NamedTuple

from afield._wire.messages import ErrorInfo

FIRST_S: Final = 0.5
LONGEST_S: Final = 60.0

FREE_CRASHES: Final = 16
"""Containers that may die after they were ready before those that nobody has inputs for (`min_containers`) wait."""

HOPELESS: Final = 3
"""Containers in a row that fail to start by their function's own fault, after which its inputs get the error."""

FORGET_S: Final = 180.0
"""Seconds without a failure after which a function starts afresh."""


class _Trouble(NamedTuple):
    startups: int
    crashes: int
    last: float
    blamed: int = 0
    """Of the startups, those that were the function's own fault."""
    error: ErrorInfo | None = None
    """What the last of these said."""


class Backoff:
    """Failures of containers, by function.

    Inputs wait only while containers fail before they are ready. Crashes of ready ones never hold them up: an input that
    kills its container is given up after 8 losses, and neither its caller nor those of its neighbours should wait longer
    for the news than need be. Without inputs nothing bounds crashes, so there they count.
    """

    def __init__(self) -> None:
        self._trouble: dict[str, _Trouble] = {}

    def failed(
        self, function_id: str, *, was_ready: bool, now: float, error: ErrorInfo | None = None
    ) -> None:
        """Note that a container ended by a fault, before or after it was ready.

        `error`: what its function's own code said, where that is to blame.
        """
        startups, crashes, _, blamed, known = self._current(function_id, now)
        if was_ready:
            self._trouble[function_id] = _Trouble(0, crashes + 1, now)
        elif error is None:  # the platform's fault says nothing of the function
            self._trouble[function_id] = _Trouble(startups + 1, crashes, now, blamed, known)
        else:
            self._trouble[function_id] = _Trouble(startups + 1, crashes, now, blamed + 1, error)

    def ready(self, function_id: str) -> None:
        """Note that a container became ready: whatever kept others from it is over."""
        trouble = self._trouble.get(function_id)
        if trouble is not None:
            self._trouble[function_id] = _Trouble(0, trouble.crashes, trouble.last)

    def failing(self, function_id: str, now: float) -> bool:
        """Tell whether the last container failed to start: then the next one is tried alone."""
        return self._current(function_id, now).startups > 0

    def error(self, function_id: str, now: float) -> ErrorInfo | None:
        """Return what the function's own code said when containers failed to start, None if it did not."""
        return self._current(function_id, now).error

    def hopeless(self, function_id: str, now: float) -> ErrorInfo | None:
        """Return the error that all inputs of a function end with; None while there is hope."""
        trouble = self._current(function_id, now)
        return trouble.error if trouble.blamed >= HOPELESS else None

    def ready_at(self, function_id: str, now: float, *, inputs: bool) -> float:
        """Return the time from which a container may be started; `now` or earlier when at once.

        `inputs`: whether there are any for it to run.
        """
        trouble = self._current(function_id, now)
        failures = trouble.startups
        if not inputs:
            failures += max(0, trouble.crashes - FREE_CRASHES)
        if not failures:
            return now
        return trouble.last + min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))

    def forget(self, function_id: str) -> None:
        """Start afresh: the function is gone, or has new code."""
        self._trouble.pop(function_id, None)

    def _current(self, function_id: str, now: float) -> _Trouble:
        trouble = self._trouble.get(function_id)
        if trouble is None or now - trouble.last > FORGET_S:
            return _Trouble(0, 0, now)
        return trouble
