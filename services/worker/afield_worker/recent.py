"""A bounded memory of what was seen lately, with counts."""

from collections import OrderedDict


class Recent:
    """Keys seen, with how often; beyond `limit` keys the oldest is forgotten."""

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int) -> None:
        # Taking the first key out of a plain dict passes over all that were taken out before.
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._limit = limit

    def add(self, key: str, times: int = 1) -> None:
        """Note that `key` was seen once more, or several times more."""
        counts = self._counts
        counts[key] = counts.get(key, 0) + times
        if len(counts) > self._limit:
            counts.popitem(last=False)

    def get(self, key: str) -> int:
        """Return how often `key` was seen."""
        return self._counts.get(key, 0)

    def __contains__(self, key: str) -> bool:
        return key in self._counts

    def __len__(self) -> int:
        return len(self._counts)
