"""Names in the order of their keys, kept from one change to the next."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)
"""Of a kind that has an order."""


class Order(Generic[K]):
    """Names, smallest key first, and by name where keys are equal.

    A change costs a search, and a move of what comes behind it, which for some thousand names is less than any tree.
    """

    def __init__(self) -> None:
        self._keys: dict[str, K] = {}
        self._order: list[tuple[K, str]] = []
        self.first: tuple[K, str] | None = None
        """The smallest key with its name; None when there is none."""

    def put(self, name: str, key: K) -> None:
        """Take in a name, or give it another key."""
        known = self._keys.get(name)
        if known == key:
            return
        if known is not None:
            self._delete(name, known)
        self._keys[name] = key
        insort(self._order, (key, name))
        self.first = self._order[0]

    def remove(self, name: str) -> None:
        """Forget a name, if it is there."""
        known = self._keys.pop(name, None)
        if known is not None:
            self._delete(name, known)

    def _delete(self, name: str, key: K) -> None:
        del self._order[bisect_left(self._order, (key, name))]
        self.first = self._order[0] if self._order else None

    def __iter__(self) -> Iterator[tuple[K, str]]:
        """Yield keys with their names. The order may not change meanwhile."""
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)
