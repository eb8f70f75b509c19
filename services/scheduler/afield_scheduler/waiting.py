"""Why functions get no container, and when to say so. Pure; seconds, monotonic."""

from typing import Final, NamedTuple

from afield._wire.functions import FunctionRecord
from afield._wire.messages import Event

LASTS_S: Final = 1.0
"""Seconds that a function waits before it is told why: mostly room is made in a moment."""

CHANGED_S: Final = 2.0
"""Seconds until a changed reason is told; figures of free memory change all the time."""

REPEAT_S: Final = 30.0
"""Seconds until the same reason is told again."""


class _Wait(NamedTuple):
    reason: str
    since: float


class _Told(NamedTuple):
    reason: str
    at: float


class Complaints:
    """The functions that wait, with the reason last told."""

    def __init__(self) -> None:
        self._current: dict[str, _Wait] = {}
        self._told: dict[str, _Told] = {}

    @property
    def reasons(self) -> dict[str, str]:
        """Function id to the present reason."""
        return {function_id: wait.reason for function_id, wait in self._current.items()}

    def note(self, function_id: str, reason: str, now: float) -> bool:
        """Take note of a reason (empty: it waits no more); True when people should be told."""
        if not reason:
            self.settle(function_id)
            return False
        known = self._current.get(function_id)
        since = now if known is None else known.since
        self._current[function_id] = _Wait(reason, since)
        if now - since < LASTS_S:
            return False
        told = self._told.get(function_id)
        if told is not None and now - told.at < (REPEAT_S if told.reason == reason else CHANGED_S):
            return False
        self._told[function_id] = _Told(reason, now)
        return True

    def look_at(self, function_id: str) -> float | None:
        """Return when to look whether a function still waits, to tell of it; None when it does not, or was told of."""
        wait = self._current.get(function_id)
        return None if wait is None or function_id in self._told else wait.since + LASTS_S

    def settle(self, function_id: str) -> None:
        """The function waits no more."""
        self._current.pop(function_id, None)
        self._told.pop(function_id, None)

    def clear(self) -> None:
        """Nobody waits any more, as far as we are concerned."""
        self._current.clear()
        self._told.clear()


def told(function: FunctionRecord, reason: str, at: float) -> Event:
    """Return the event that tells why a function waits. `at` is Unix time."""
    return Event(
        kind="function.waiting",
        at=at,
        app_id=function.app_id,
        function_id=function.function_id,
        detail=f"{function.spec.name} waits: {reason}",
    )
