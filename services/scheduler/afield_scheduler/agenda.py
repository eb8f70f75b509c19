"""Which functions are to be looked at when. Pure; seconds, monotonic."""

from heapq import heapify, heappop, heappush
from typing import Final

BATCH_S: Final = 0.05
"""Looks that are due within this time of each other are done together."""

_STALE: Final = 1_000
"""Dates that may be kept although they were brought forward, or cancelled, beside as many as there are good ones."""


class Agenda:
    """The next look at each function."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._dates: list[tuple[float, str]] = []
        """A heap, with dates among them that hold no more."""

    def __contains__(self, function_id: str) -> bool:
        return function_id in self._due

    def at_latest(self, function_id: str, due: float) -> bool:
        """Look at a function by `due`, or earlier if that was planned; True if this is now the first of all looks."""
        known = self._due.get(function_id)
        if known is not None and known <= due:
            return False
        self._due[function_id] = due
        if len(self._dates) > 2 * len(self._due) + _STALE:
            self._dates = [(at, each) for each, at in self._due.items()]
            heapify(self._dates)
        else:
            heappush(self._dates, (due, function_id))
        return due == self.next_due()

    def cancel(self, function_id: str) -> None:
        """Look at a function no more."""
        self._due.pop(function_id, None)

    def clear(self) -> None:
        """Look at nothing more."""
        self._due.clear()
        self._dates.clear()

    def next_due(self) -> float | None:
        """Return when the next look is due; None when there is none."""
        while self._dates and self._due.get(self._dates[0][1]) != self._dates[0][0]:
            heappop(self._dates)
        return self._dates[0][0] if self._dates else None

    def pop_due(self, now: float) -> list[str]:
        """Take the functions whose looks are due, and those due in a moment, if any is due now."""
        first = self.next_due()
        if first is None or first > now:
            return []
        due: list[str] = []
        while first is not None and first <= now + BATCH_S:
            function_id = heappop(self._dates)[1]
            del self._due[function_id]
            due.append(function_id)
            first = self.next_due()
        return due
