"""Which functions are to be looked at when. Pure; seconds, monotonic."""

from typing import Final

BATCH_S: Final = 0.05
"""Looks that are due within this time of each other are done together."""


class Agenda:
    """The next look at each function."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def __contains__(self, function_id: str) -> bool:
        return function_id in self._due

    def at_latest(self, function_id: str, due: float) -> bool:
        """Look at a function by `due`, or earlier if that was planned; True if this is now the first of all looks."""
        known = self._due.get(function_id)
        if known is not None and known <= due:
            return False
        self._due[function_id] = due
        return due <= min(self._due.values())

    def cancel(self, function_id: str) -> None:
        """Look at a function no more."""
        self._due.pop(function_id, None)

    def clear(self) -> None:
        """Look at nothing more."""
        self._due.clear()

    def next_due(self) -> float | None:
        """Return when the next look is due; None when there is none."""
        return min(self._due.values(), default=None)

    def pop_due(self, now: float) -> list[str]:
        """Take the functions whose looks are due, and those due in a moment, if any is due now."""
        first = self.next_due()
        if first is None or first > now:
            return []
        due = [each for each, at in self._due.items() if at <= now + BATCH_S]
        for each in due:
            del self._due[each]
        return due
