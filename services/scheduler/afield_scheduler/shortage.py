"""Functions that need more containers than there is room for, and when to see whether there is some now. Pure; seconds."""

from typing import Final

REST: Final = 3.0
"""Times as long as it took to see to them all nobody is seen to: a crowd must not keep the scheduler from all else."""


class Shortage:
    """Who is short of room. Any report of a worker may bring some, and a thousand workers report all the time."""

    def __init__(self) -> None:
        self._functions: set[str] = set()
        self._not_before = 0.0
        self._asked = False

    def note(self, function_id: str, *, short: bool) -> None:
        """Note whether a function is short of room."""
        (self._functions.add if short else self._functions.discard)(function_id)

    def clear(self) -> None:
        """Nobody is, as far as we know."""
        self._functions.clear()

    def due(self, now: float) -> list[str]:
        """There may be more room: return the functions to see to; none if that was done a moment ago.

        Then `next_due` says when to ask again.
        """
        self._asked = now < self._not_before
        return [] if self._asked else list(self._functions)

    def seen_to(self, began: float, ended: float) -> None:
        """Note how long that took."""
        self._not_before = ended + REST * (ended - began)

    def next_due(self) -> float | None:
        """Return when to see to them although nobody reports; None if that need not be."""
        return self._not_before if self._asked and self._functions else None
