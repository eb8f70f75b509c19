"""Why functions get no container, and when to say so again. Pure; seconds, monotonic."""

from typing import Final, NamedTuple

CHANGED_S: Final = 2.0
"""Seconds until a changed reason is told; figures of free memory change all the time."""

REPEAT_S: Final = 30.0
"""Seconds until the same reason is told again."""


class _Told(NamedTuple):
    reason: str
    at: float


class Complaints:
    """The functions that wait, with the reason last told."""

    def __init__(self) -> None:
        self._current: dict[str, str] = {}
        self._told: dict[str, _Told] = {}

    @property
    def reasons(self) -> dict[str, str]:
        """Function id to the present reason."""
        return dict(self._current)

    def functions(self) -> set[str]:
        """Return the functions that wait."""
        return set(self._current)

    def note(self, function_id: str, reason: str, now: float) -> bool:
        """Take note of a reason (empty: it waits no more); True when people should be told."""
        if not reason:
            self.settle(function_id)
            return False
        self._current[function_id] = reason
        told = self._told.get(function_id)
        if told is not None and now - told.at < (REPEAT_S if told.reason == reason else CHANGED_S):
            return False
        self._told[function_id] = _Told(reason, now)
        return True

    def settle(self, function_id: str) -> None:
        """The function waits no more."""
        self._current.pop(function_id, None)
        self._told.pop(function_id, None)

    def clear(self) -> None:
        """Nobody waits any more, as far as we are concerned."""
        self._current.clear()
        self._told.clear()
