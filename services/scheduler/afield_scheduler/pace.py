"""How long the packs of functions take, by what the workers report. Pure."""

from collections import defaultdict
from math import fsum

from afield._wire.functions import WorkerRecord


class Pace:
    """Recent means of seconds per pack, found by function: these are asked for more often than workers report."""

    def __init__(self) -> None:
        self._means: defaultdict[str, dict[str, float]] = defaultdict(dict)
        """By function, then by worker."""

    def report(self, old: WorkerRecord | None, new: WorkerRecord | None) -> None:
        """Take over what a worker says in place of what it said before; None: there is no such report."""
        said, says = old.pack_seconds if old is not None else {}, new.pack_seconds if new is not None else {}
        if old is not None and said.keys() != says.keys():
            for function_id in said.keys() - says.keys():
                del self._means[function_id][old.worker_id]
                if not self._means[function_id]:
                    del self._means[function_id]
        if new is not None:
            for function_id, seconds in says.items():
                self._means[function_id][new.worker_id] = seconds

    def mean(self, function_id: str) -> float | None:
        """Return the mean over all workers that ran some; None if there is none."""
        known = self._means.get(function_id)
        return fsum(known.values()) / len(known) if known else None
