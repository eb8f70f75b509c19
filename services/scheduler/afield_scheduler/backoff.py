"""How long a function whose containers fail must wait for the next one. Pure; seconds, monotonic."""

from typing import Final, NamedTuple

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0

FREE_CRASHES: Final = 16
"""Containers that may die after they were ready before those that nobody has inputs for (`min_containers`) wait."""

FORGET_S: Final = 60.0
"""Seconds without a failure after which a function starts afresh."""


class _Trouble(NamedTuple):
    startups: int
    crashes: int
    last: float


class Backoff:
    """Failures of containers, by function.

    Inputs wait only while containers fail before they are ready. Crashes of ready ones never hold them up: an input that
    kills its container is given up after 8 losses, and neither its caller nor those of its neighbours should wait longer
    for the news than need be. Without inputs nothing bounds crashes, so there they count.
    """

    def __init__(self) -> None:
        self._trouble: dict[str, _Trouble] = {}

    def failed(self, function_id: str, *, was_ready: bool, now: float) -> None:
        """Note that a container ended by a fault, before or after it was ready."""
        startups, crashes, _ = self._current(function_id, now)
        if was_ready:
            self._trouble[function_id] = _Trouble(0, crashes + 1, now)
        else:
            self._trouble[function_id] = _Trouble(startups + 1, crashes, now)

    def ready_at(self, function_id: str, now: float, *, inputs: bool) -> float:
        """Return the time from which a container may be started; `now` or earlier when at once.

        `inputs`: whether there are any for it to run.
        """
        startups, crashes, last = self._current(function_id, now)
        failures = startups if inputs else startups + max(0, crashes - FREE_CRASHES)
        if not failures:
            return now
        return last + min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))

    def forget(self, function_id: str) -> None:
        """Start afresh: the function is gone, or has new code."""
        self._trouble.pop(function_id, None)

    def _current(self, function_id: str, now: float) -> _Trouble:
        trouble = self._trouble.get(function_id)
        if trouble is None or now - trouble.last > FORGET_S:
            return _Trouble(0, 0, now)
        return trouble
