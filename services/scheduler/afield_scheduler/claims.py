"""What keeps a function off a host that has room: a refusal a moment ago, or somebody who was there first. Pure."""

from collections import defaultdict
from typing import Final, NamedTuple

from afield._wire.functions import Resources
from afield_scheduler.placement import Taken

AVOID_S: Final = 2.0
"""Seconds that a worker's refusal of a function counts, unless its record changes earlier."""


class Claim(NamedTuple):
    """Room on a host that is being made for a function: those that come later keep off."""

    worker_id: str
    resources: Resources
    since: float


class Claims:
    """At most one for each function. Seconds, monotonic."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._on: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
        self.stirred: set[str] = set()
        """Workers of which more, or less, may be claimed than when this was emptied last."""

    def put(self, function_id: str, worker_id: str, resources: Resources, now: float) -> None:
        """Keep room on a worker free for a function; a claim is as old as the first one since it last had none."""
        known = self.drop(function_id)
        claim = Claim(worker_id, resources, known.since if known is not None else now)
        self._claims[function_id] = self._on[worker_id][function_id] = claim
        self.stirred.add(worker_id)

    def drop(self, function_id: str) -> Claim | None:
        """Give a function's claim up; return it."""
        known = self._claims.pop(function_id, None)
        if known is not None:
            del self._on[known.worker_id][function_id]
            if not self._on[known.worker_id]:
                del self._on[known.worker_id]
            self.stirred.add(known.worker_id)
        return known

    def clear(self) -> None:
        """Give all up."""
        self.stirred.update(self._on)
        self._claims.clear()
        self._on.clear()

    def on(self, worker_id: str) -> list[Taken]:
        """Return what is kept free on a worker for anybody."""
        return [Taken(claim.resources) for claim in self._on.get(worker_id, {}).values()]

    def worker_of(self, function_id: str) -> str:
        """Return the worker on which room is kept for a function; empty if there is none."""
        own = self._claims.get(function_id)
        return own.worker_id if own is not None else ""

    def before(self, function_id: str, worker_id: str) -> list[Taken]:
        """Return what is kept free on a worker for others: where the function has a claim, too, those that came before."""
        if worker_id not in self._on:
            return []
        own = self._on[worker_id].get(function_id)
        return [
            Taken(claim.resources)
            for claimant, claim in self._on[worker_id].items()
            if claimant != function_id and (own is None or claim.since < own.since)
        ]


class Refusals:
    """Which workers would not start a container of which function. Seconds, monotonic."""

    def __init__(self) -> None:
        self._by_worker: dict[str, dict[str, tuple[str, float]]] = {}

    def put(self, function_id: str, worker_id: str, reason: str, now: float) -> None:
        """Note why a worker refused."""
        self._by_worker.setdefault(worker_id, {})[function_id] = (reason, now)

    def reason(self, function_id: str, worker_id: str) -> str:
        """Return why a worker refused a function a moment ago; empty if it did not."""
        return (
            self._by_worker[worker_id].get(function_id, ("", 0.0))[0] if worker_id in self._by_worker else ""
        )

    def forget(self, worker_id: str) -> None:
        """A worker has reported: it may have changed its mind."""
        self._by_worker.pop(worker_id, None)

    def expire(self, now: float) -> None:
        """Forget those that were long ago."""
        for worker_id, refused in list(self._by_worker.items()):
            kept = {f: (reason, at) for f, (reason, at) in refused.items() if now - at < AVOID_S}
            if kept:
                self._by_worker[worker_id] = kept
            else:
                del self._by_worker[worker_id]

    def clear(self) -> None:
        """Forget all."""
        self._by_worker.clear()
