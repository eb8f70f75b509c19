"""How long to wait before a process that died is started again."""


class Backoff:
    """Doubling delays for what dies young, starting over once it has lived for a while."""

    def __init__(self, *, first: float = 0.1, most: float = 10.0, settled: float = 30.0) -> None:
        self._first = first
        self._most = most
        self._settled = settled
        self._next = first

    def delay(self, lived: float) -> float:
        """Return the seconds to wait before the next start, after a life of `lived` seconds."""
        if lived >= self._settled:
            self._next = self._first
        now, self._next = self._next, min(self._most, self._next * 2)
        return now
