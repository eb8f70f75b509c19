"""A pack that this worker holds: what was delivered, how far it is, what came out of it."""

from typing import Any, NamedTuple

from afield._wire.messages import BlobRef, ErrorInfo, InputPack, InputResult
from afield._wire.subjects import Lane
from afield_worker.states import PackEvent, PackPhase, next_pack

Delivery = Any
"""The shell's handle of a delivery; the pool only hands it back."""


class Moved(NamedTuple):
    """An input that leaves its pack, and goes on as a pack of one."""

    input_index: int
    attempt: int
    losses: int
    delay: float
    """Seconds from now before which it must not start."""


class Held:
    """One delivered pack, from its delivery to its acknowledgement (or return)."""

    __slots__ = (
        "args",
        "cancelled",
        "chunks",
        "chunks_unstored",
        "container_id",
        "credit",
        "delivery",
        "has_blobs",
        "lane",
        "moved",
        "num_delivered",
        "pack",
        "phase",
        "remaining",
        "results",
        "settling",
        "since",
        "subject",
        "token",
        "yielded",
    )

    def __init__(
        self,
        token: int,
        subject: str,
        lane: Lane,
        pack: InputPack,
        delivery: Delivery,
        num_delivered: int,
        now: float,
        *,
        fetching: bool = False,
    ) -> None:
        self.token = token
        """This worker's number for the pack, as frames carry it."""
        self.subject = subject
        self.lane: Lane = lane
        self.pack = pack
        self.args: tuple[bytes | BlobRef, ...] = pack.args
        """What the guest gets: blobs are files on this host."""
        self.delivery = delivery
        """The latest delivery: a redelivered twin replaces the handle of the one before."""
        self.num_delivered = num_delivered
        """Deliveries so far, this one included, without those that this worker sent back by itself."""
        self.has_blobs = fetching
        """Whether some arguments are blobs."""
        self.phase: PackPhase = "fetching" if fetching else "waiting"
        self.since = now
        """When it was delivered; when it was started, once it runs."""
        self.container_id = ""
        self.remaining = len(pack.args)
        """Inputs whose end is not known yet."""
        self.results: dict[int, InputResult] = {}
        self.moved: list[Moved] = []
        self.cancelled: frozenset[int] = frozenset()
        self.chunks = 0
        """Chunks of values published."""
        self.chunks_unstored = 0
        self.yielded = 0
        self.credit = 0
        self.settling: Any = None
        """The Settle that waits for the last chunks to be stored."""

    def __repr__(self) -> str:
        return f"<{self.phase} pack {self.subject} token {self.token}>"

    def advance(self, event: PackEvent) -> None:
        """Change the phase. Raises TransitionError, and changes nothing, when the event does not fit."""
        self.phase = next_pack(self.phase, event)

    @property
    def size(self) -> int:
        """How many inputs it has."""
        return len(self.pack.args)

    @property
    def losses(self) -> int:
        """How often its inputs were lost with a container or a worker before this delivery."""
        return self.pack.losses + max(0, self.num_delivered - 1)

    def unfinished(self) -> list[int]:
        """The inputs whose end is not known, in order; the guest works in this order."""
        first = self.pack.first
        return [i for i in range(first, first + self.size) if i not in self.results]

    def end(self, result: InputResult) -> None:
        """Note how an input ended; the first word on an input stands."""
        first = self.pack.first
        if first <= result.index < first + self.size and result.index not in self.results:
            self.results[result.index] = result
            self.remaining -= 1

    def run_seconds(self, now: float) -> float:
        """Return how long its container worked on it, by its own word; without that, how long it has been there.

        The difference is time in which the container, this worker or the host were busy with others, which another
        container would not make any shorter.
        """
        told = sum(result.run_s for result in self.results.values())
        there = now - self.since
        return min(told, there) if told > 0 else there

    def fail(self, index: int, error: ErrorInfo) -> None:
        """Note that an input ended in an error."""
        self.end(InputResult(index=index, status="error", error=error))

    def move(self, index: int, *, attempt: int | None = None, lost: bool = False, delay: float = 0.0) -> None:
        """Note that an input goes on as a pack of one."""
        if index in self.results:
            return
        self.moved.append(
            Moved(
                index,
                attempt or self.pack.attempt,
                self.losses + 1 if lost else self.losses,
                delay,
            )
        )
        self.end(InputResult(index=index, status="moved"))

    def outcome(self) -> tuple[tuple[InputResult, ...], tuple[Moved, ...]]:
        """Return the results to publish, in order, and what moves on.

        A pack of one that moves has no result yet: the next attempt has the same result subject.
        """
        if self.size == 1 and self.moved:
            return (), tuple(self.moved)
        results = self.results
        return tuple(results[i] for i in sorted(results)), tuple(self.moved)
