"""Whether functions get on with their inputs, from looks at their backlogs. Pure; seconds, monotonic.

The recent mean of run times says little of the next input: a function that was quick may sleep. When nothing has ended
for much longer than the mean, while inputs were there, the mean is wrong.
"""

from typing import Final, NamedTuple

SLOW_S: Final = 0.03
"""Seconds in which nothing ended, after which a mean run time below them is not believed."""

MEANS: Final = 3.0
"""The same, in mean run times."""


LIVELY_S: Final = 0.1
"""Seconds after something was seen to end in which one look tells whether the function still gets on."""

_SURELY_S: Final = 0.02
"""A look may come so late."""


class _Standing(NamedTuple):
    floor: int
    backlog: int
    since: float | None
    """When something ended, or inputs came; None without inputs."""
    moved: bool = False
    """Whether something ended then."""


class Progress:
    """Since when each function that has inputs has ended none."""

    def __init__(self) -> None:
        self._standing: dict[str, _Standing] = {}
        self._watched: dict[str, float] = {}
        """Functions that are looked at in quick succession, and until when."""

    def woken(self, function_id: str, now: float) -> None:
        """A function has inputs; it may have had none before."""
        known = self._standing.get(function_id)
        if known is not None and known.since is None:
            self._standing[function_id] = known._replace(since=now)

    def look(self, function_id: str, *, floor: int, backlog: int, now: float) -> None:
        """Take in a look: what all packs are acknowledged up to, and how many wait or run."""
        known = self._standing.get(function_id)
        if not backlog:
            self._standing[function_id] = _Standing(floor, 0, None)
        elif known is None or floor != known.floor or backlog < known.backlog:
            self._standing[function_id] = _Standing(floor, backlog, now, known is not None)
        elif known.since is None:
            self._standing[function_id] = _Standing(floor, backlog, now)
        else:
            self._standing[function_id] = known._replace(backlog=max(backlog, known.backlog))

    def crowded(self, function_id: str, now: float) -> float:
        """A client has more in flight than the containers run at once; return when to look at whether they get on.

        At once, and `next_look` has one more look follow; where that was seen a moment ago, SLOW_S after that will do.
        """
        known = self._standing.get(function_id)
        if known is not None and known.moved and known.since is not None and now < known.since + LIVELY_S:
            return max(now, known.since + SLOW_S)
        self._watched.setdefault(function_id, now + SLOW_S + _SURELY_S)
        return now

    def is_slow(self, function_id: str, mean: float, now: float) -> bool:
        """Tell whether nothing has ended for so long that packs must take longer than `mean` seconds."""
        known = self._standing.get(function_id)
        return known is not None and known.since is not None and now >= known.since + _enough(mean)

    def next_look(self, function_id: str, mean: float, now: float) -> float | None:
        """Return when a crowded function will turn out to be slow; None where that is known, or takes long."""
        known, until = self._standing.get(function_id), self._watched.get(function_id, 0.0)
        if known is not None and known.since is not None:
            due = known.since + _enough(mean)
            if now < due <= until:
                return due
        self._watched.pop(function_id, None)
        return None

    def clear(self) -> None:
        """Forget all that was seen."""
        self._standing.clear()
        self._watched.clear()

    def forget(self, function_id: str) -> None:
        """A function is gone."""
        self._standing.pop(function_id, None)
        self._watched.pop(function_id, None)


def _enough(mean: float) -> float:
    return max(SLOW_S, MEANS * mean)
