"""What is not as it should be, for people to know: inputs that nobody pulls, workers that have stalled. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from afield._wire.functions import FunctionRecord, WorkerRecord

LASTS_S: Final = 5.0
"""Seconds that inputs are left where they are, with a container free for them, before that is odd. Workers report what
their containers do every second."""

LOOKS: Final = 3
"""Looks in a row at which they were."""


class Unpulled(NamedTuple):
    """Inputs that wait although a container is free."""

    since: float
    looks: int
    packs: int
    workers: tuple[str, ...]
    """Those that have the free containers."""


class Pulling:
    """Watches whether the inputs of functions are pulled. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._odd: dict[str, Unpulled] = {}

    def look(self, function_id: str, *, packs: int, pulls: int, workers: Iterable[str], now: float) -> None:
        """Note what was seen of a function: packs that nobody has, open requests for some, workers with free containers."""
        free = tuple(sorted(set(workers)))
        if not packs or pulls or not free:
            self._odd.pop(function_id, None)
            return
        known = self._odd.get(function_id)
        since, looks = (now, 0) if known is None else (known.since, known.looks)
        self._odd[function_id] = Unpulled(since, looks + 1, packs, free)

    def stalled(self, function_id: str, now: float) -> Unpulled | None:
        """Return what was seen of a function whose inputs are not pulled, None if they are."""
        odd = self._odd.get(function_id)
        if odd is None or odd.looks < LOOKS or now - odd.since < LASTS_S:
            return None
        return odd

    def forget(self, function_id: str) -> None:
        """The function is gone."""
        self._odd.pop(function_id, None)

    def clear(self) -> None:
        """Forget all that was seen."""
        self._odd.clear()

    def notices(
        self, functions: Iterable[FunctionRecord], workers: Iterable[WorkerRecord], now: float
    ) -> Iterator[str]:
        """Yield what people should know, a sentence each."""
        for worker in workers:
            if worker.stalled:
                yield f"worker {worker.worker_id} does not pull inputs: {worker.stalled}"
        for function in functions:
            odd = self.stalled(function.function_id, now)
            if odd is not None:
                yield (
                    f"{function.spec.name} ({function.function_id}): {odd.packs:,} packs of inputs wait, and "
                    f"{', '.join(odd.workers)} has free containers, but has not asked for any for "
                    f"{now - odd.since:.0f} s"
                )
