"""A pack that this worker holds: what was delivered, how far it is, what came out of it."""

from dataclasses import replace
from math import inf
from typing import Any, Final, Literal, NamedTuple

from afield._wire.messages import BlobRef, ErrorInfo, InputPack, InputResult
from afield._wire.streams import MAX_LOSSES
from afield._wire.subjects import Lane
from afield_worker.states import (
    INPUT,
    INPUT_STATUS,
    InputEvent,
    InputPhase,
    PackEvent,
    PackPhase,
    next_input,
    next_pack,
)

Delivery = Any
"""The shell's handle of a delivery; the pool only hands it back."""

ALONE_AFTER: Final = MAX_LOSSES // 2
"""Losses after which a pack runs in a container of its own: if it is at fault, only it ends as lost."""

Interruption = Literal["", "timeout", "cancel", "return"]
"""Why the input that a pack runs was interrupted; `return`: it is to run elsewhere, as this worker ends."""


class Moved(NamedTuple):
    """An input that leaves its pack, and goes on as a pack of one."""

    input_index: int
    attempt: int
    losses: int
    delay: float
    """Seconds from now before which it must not start."""
    error: ErrorInfo | None = None
    """What ended this attempt, if the other one is the next."""


class Held:
    """One delivered pack, from its delivery to its acknowledgement (or return)."""

    __slots__ = (
        "again",
        "args",
        "begun",
        "cancelled",
        "chunks",
        "chunks_unstored",
        "container_id",
        "credit",
        "deadline",
        "deaths",
        "delivery",
        "elsewhere",
        "has_blobs",
        "lane",
        "left",
        "losses_seen",
        "moved",
        "num_delivered",
        "open",
        "pack",
        "phase",
        "remaining",
        "result_to",
        "results",
        "settling",
        "since",
        "subject",
        "token",
        "verdict",
        "why",
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
        losses_seen: int = 0,
        deaths: int = 0,
        fetching: bool = False,
        again: bool = False,
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
        self.losses_seen = losses_seen
        """How many of the losses among them this worker saw itself; others may have sent it back unharmed."""
        self.deaths = deaths
        """How many of them were deaths of workers that ran it."""
        self.again = again
        """Whether an earlier run of it may have come to an end."""
        self.has_blobs = fetching
        """Whether some arguments are blobs."""
        self.phase: PackPhase = "fetching" if fetching else "waiting"
        self.since = now
        """When it was delivered; when it was started, once it runs."""
        self.container_id = ""
        self.deadline = inf
        """When the input that runs must have ended, or have heeded its interruption; infinity while none runs."""
        self.left = inf
        """Of a generator that waits for its caller: the seconds that it had when its clock was stopped."""
        self.verdict: Interruption = ""
        self.begun = False
        """Whether user code has it; a batched function lets inputs wait for others."""
        self.open: InputPhase = "waiting"
        """The phase of its inputs that have no end."""
        self.remaining = len(pack.args)
        """How many those are."""
        self.results: dict[int, InputResult] = {}
        self.result_to: Any = None
        """Where the shell will publish them if they come from `container_id`; None until it has worked that out."""
        self.moved: list[Moved] = []
        self.elsewhere: frozenset[int] = frozenset()
        """Inputs that go on by themselves since an earlier run of the pack."""
        self.cancelled: frozenset[int] = frozenset()
        self.why = ""
        """Why they are, for people, if it was not their caller who asked for it."""
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
    def unharmed(self) -> bool:
        """Whether it was never lost, as far as anybody knows, and nobody has cancelled any of it."""
        return self.losses == 0 and not self.deaths and not self.cancelled

    def start(self, container_id: str, now: float) -> None:
        """Note that a container has it now."""
        self.advance("start")
        self.open = next_input(self.open, "start")
        self.container_id = container_id
        self.since = now

    def recall(self) -> None:
        """Note that its container gave it back, and had not begun it."""
        if self.phase == "running":
            self.open = next_input(self.open, "recalled")
        self.advance("recalled")
        self.container_id = ""
        self.verdict = ""
        self.begun = False
        self.deadline = inf

    @property
    def size(self) -> int:
        """How many inputs it has."""
        return len(self.pack.args)

    @property
    def ws(self) -> str:
        """The environment that it belongs to."""
        return self.subject.split(".", 3)[2]

    @property
    def losses(self) -> int:
        """How often its inputs were lost with a container or a worker before this delivery, at most.

        A delivery that another worker sent back looks like a loss.
        """
        return self.pack.losses + max(0, self.num_delivered - 1)

    @property
    def certain_losses(self) -> int:
        """How many of those are told in the pack, were seen by this worker, or were deaths of others that it knows of."""
        return self.pack.losses + self.losses_seen + self.deaths

    @property
    def suspect(self) -> bool:
        """Whether it was lost so often that nothing else should run beside it, and be lost with it."""
        return self.losses >= ALONE_AFTER and self.certain_losses > 0

    def has(self, index: int) -> bool:
        """Tell whether this is an input of the pack, and has no end yet."""
        first = self.pack.first
        return first <= index < first + len(self.pack.args) and index not in self.results

    def unfinished(self) -> list[int]:
        """The inputs whose end is not known, in order; the guest works in this order."""
        first = self.pack.first
        return [i for i in range(first, first + self.size) if i not in self.results]

    def run_seconds(self, now: float) -> float:
        """Return how long its container worked on it, by its own word; without that, how long it has been there.

        The difference is time in which the container, this worker or the host were busy with others, which another
        container would not make any shorter.
        """
        told = sum(result.run_s for result in self.results.values())
        there = now - self.since
        return min(told, there) if told > 0 else there

    # -- the ends of inputs: the first word on an input stands ---------------------------------------------

    def succeed(self, result: InputResult) -> None:
        """Note the value of an input. Called for every input, hence not by `_end`."""
        if (self.open, "value") not in INPUT:
            next_input(self.open, "value")
        index = result.index
        if 0 <= index - self.pack.first < len(self.pack.args) and index not in self.results:
            self.results[index] = result
            self.remaining -= 1

    def fail(self, index: int, error: ErrorInfo, run_s: float = 0.0) -> None:
        """Note that an input ended in an error, for good."""
        if self.pack.history or self.pack.method:
            error = replace(error, history=self.pack.history, method=self.pack.method)
        self._end(index, "error", InputResult(index=index, status="error", error=error, run_s=run_s))

    def cancel(self, index: int) -> None:
        """Note that an input ended as cancelled."""
        error = ErrorInfo(kind="cancelled", message=self.why) if self.why else None
        self._end(index, "cancel", InputResult(index=index, status="cancelled", error=error))

    def retry(self, index: int, error: ErrorInfo, delay: float) -> None:
        """Note that an attempt ended in an error, and the next one follows after `delay` seconds."""
        if self._end(index, "retry"):
            self.moved.append(Moved(index, self.pack.attempt + 1, self.certain_losses, delay, error))

    def move(self, index: int, *, lost: bool = False) -> None:
        """Note that an input of several goes on as a pack of one, in the same attempt.

        A pack of one is sent back instead: its next message would have the subject that it has itself.
        """
        if self.size == 1:
            raise ValueError(f"expected a pack of several inputs, got {self!r}: send it back")
        if self._end(index, "move"):
            self.moved.append(Moved(index, self.pack.attempt, self.certain_losses + lost, 0.0))

    def ended_before(self, elsewhere: frozenset[int]) -> None:
        """An earlier run of the pack came to an end that stands; the inputs in `elsewhere` go on by themselves."""
        for index in self.unfinished():
            self._end(index, "move")
        self.elsewhere = elsewhere

    @property
    def going_on(self) -> frozenset[int]:
        """Inputs that live on in packs of their own, and need their arguments."""
        return self.elsewhere | {moved.input_index for moved in self.moved}

    def outcome(self) -> tuple[tuple[InputResult, ...], tuple[Moved, ...]]:
        """Return the results to publish, in order, and what moves on.

        A pack of one that moves has no result yet: the next attempt has the same result subject.
        """
        if self.size == 1 and self.moved:
            return (), tuple(self.moved)
        results = self.results
        return tuple(results[i] for i in sorted(results)), tuple(self.moved)

    def _end(self, index: int, event: InputEvent, result: InputResult | None = None) -> bool:
        """Take an input to its end here; False if it has one already, or is none of this pack."""
        if not self.has(index):
            return False
        status = INPUT_STATUS[next_input(self.open, event)]
        self.results[index] = result or InputResult(index=index, status=status)
        self.remaining -= 1
        return True
