"""Containers that nobody will ever call: their functions were removed while nobody led, or long before. Pure; seconds."""

from collections.abc import Iterable
from typing import Final

from afield_scheduler.crews import STOPPING_S, Placed

STRAY_S: Final = 0.5
"""Seconds that a container may be there before the news of its function."""


class Strays:
    """When each of them is to be stopped."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def look(self, strays: Iterable[Placed], now: float) -> list[Placed]:
        """Take note of all that there are now; return those to stop. One that does not go is returned again later."""
        present = {placed.record.container_id: placed for placed in strays if not _leaves(placed)}
        self._due = {c: self._due.get(c, now + STRAY_S) for c in present}
        late = [c for c, due in self._due.items() if due <= now]
        self._due |= dict.fromkeys(late, now + STOPPING_S)
        return [present[c] for c in late]

    def next_due(self) -> float | None:
        """Return when the next one is to be stopped; None when there is none."""
        return min(self._due.values(), default=None)


def _leaves(placed: Placed) -> bool:
    """Tell whether a container is about to end by itself; a busy one may finish what it runs first."""
    return placed.record.state == "stopping" and not placed.record.busy
