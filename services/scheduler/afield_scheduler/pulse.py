"""Which records of workers are worth anything: those that were put not long ago. Pure; seconds.

A record has a time to live on the server, and normally that is all. But a server that was killed may bring records back
whose time was over, and keep them for good.
"""

from typing import Final, NamedTuple

from afield._wire.streams import WORKER_TTL

CLOCKS_S: Final = 5.0
"""Seconds by which the server's clock and ours may differ."""

SILENT_S: Final = WORKER_TTL + 3.0
"""Seconds without a new record after which the server should have let the old one lapse."""


class _Beat(NamedTuple):
    revision: int
    heard_at: float


class Pulse:
    """When each worker's record was put last, by our own clock."""

    def __init__(self) -> None:
        self._beats: dict[str, _Beat] = {}

    def heard(self, worker_id: str, revision: int, *, age: float, now: float) -> bool:
        """Note a record; tell whether its worker is to be believed alive.

        `age`: since it was stored, by the server's clock and ours; 0 for one that is heard as it is put.
        """
        self._beats[worker_id] = _Beat(revision, now)
        return age <= WORKER_TTL + CLOCKS_S

    def gone(self, worker_id: str) -> None:
        """Forget a worker: its record is no more."""
        self._beats.pop(worker_id, None)

    def silent(self, now: float) -> list[tuple[str, int]]:
        """Return the workers whose records should have lapsed long ago, each with the revision heard last.

        By our own clock alone. Whoever paused, or was cut off, may have missed newer ones: ask the server.
        """
        return [(w, beat.revision) for w, beat in self._beats.items() if now - beat.heard_at >= SILENT_S]
