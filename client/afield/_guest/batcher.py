"""Gathers what comes one by one into batches. Pure: the clock is passed in."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """A batch is ready when `size` items wait, or `wait` seconds after its first one came."""

    def __init__(self, size: int, wait: float) -> None:
        self._size = size
        self._wait = wait
        self._items: deque[tuple[float, T]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, now: float) -> None:
        """Take an item in."""
        self._items.append((now, item))

    def due(self) -> float | None:
        """Return when the next batch is ready: a time that may be past, or None while nothing waits."""
        if not self._items:
            return None
        first = self._items[0][0]
        return first if len(self._items) >= self._size else first + self._wait

    def take(self, now: float) -> list[T]:
        """Return the next batch, oldest first; empty if none is ready."""
        due = self.due()
        if due is None or now < due:
            return []
        return [self._items.popleft()[1] for _ in range(min(self._size, len(self._items)))]

    def discard(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Return the items for which `unwanted` is true, and forget them."""
        found = [item for _, item in self._items if unwanted(item)]
        if found:
            self._items = deque(pair for pair in self._items if not unwanted(pair[1]))
        return found
