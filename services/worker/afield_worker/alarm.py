"""The earliest moment at which something is due."""

from math import inf


class Alarm:
    """Keeps the earliest of the moments asked for; `set` replaces them all."""

    __slots__ = ("when",)

    def __init__(self) -> None:
        self.when = inf

    def at(self, when: float) -> None:
        """Ring at `when`, or earlier."""
        if when < self.when:
            self.when = when
