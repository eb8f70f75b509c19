"""A turn whose interruption is only noted."""

from typing import Any

from afield._guest.outcomes import Interruption
from afield._guest.turns import Turn


class FakeTurn(Turn):
    """User code that began `ran` seconds ago, and says what was done to it."""

    __slots__ = ("_ran", "credits")

    def __init__(self, index: int = 0, ran: float = 0.0) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing, index)
        self._ran = ran
        self.credits = 0
        """How often there was more credit."""

    def ran(self) -> float:
        return self._ran

    def interrupt(self, why: Interruption) -> None:
        self.interrupted = self.interrupted or why

    def credited(self) -> None:
        self.credits += 1
