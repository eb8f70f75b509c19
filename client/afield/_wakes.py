"""When to tell the scheduler that a function has inputs: at once, then at most every 50 ms. Pure."""

from typing import Final

PERIOD_S: Final = 0.050


class Wakes:
    """The functions that the scheduler should hear of. `now` is a monotonic clock in seconds."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._shards: dict[str, int] = {}
        self._last: dict[str, float] = {}

    def touch(self, function_id: str, now: float, shard: int) -> bool:
        """A function got inputs. Return whether it was not waiting to be told of already."""
        if function_id in self._due:
            return False
        self._shards[function_id] = shard
        self._due[function_id] = max(now, self._last.get(function_id, 0.0) + PERIOD_S)
        return True

    def take(self, now: float) -> list[tuple[str, int]]:
        """Return the functions to tell of now, each with its shard."""
        ready = [function_id for function_id, due in self._due.items() if due <= now]
        for function_id in ready:
            del self._due[function_id]
            self._last[function_id] = now
        if len(self._last) > 10_000:
            self._last = {name: at for name, at in self._last.items() if at > now - PERIOD_S}
        return [(function_id, self._shards.pop(function_id)) for function_id in ready]

    @property
    def next_due(self) -> float | None:
        """When to take again; None when nothing waits."""
        return min(self._due.values(), default=None)
