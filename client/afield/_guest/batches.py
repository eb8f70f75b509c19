"""Batches: inputs of several packs that a user's function gets together, as lists."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from afield._guest.batcher import Batcher
from afield._guest.packs import MISFIRE
from afield._guest.turns import Turn
from afield._wire.functions import Batching
from afield._wire.guest import Began, Cancel, Results, Run, Stop
from afield._wire.messages import BlobRef, InputResult


class BatchedPack:
    """A Run frame whose inputs go into batches."""

    __slots__ = ("_open", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self._open = dict.fromkeys(range(run.first, run.first + len(run.args)))

    def claim(self, index: int) -> bool:
        """Tell whether the input has no end yet; it has one from now on. Safe in threads: one caller gets True."""
        return self._open.pop(index, False) is None

    def is_open(self, index: int) -> bool:
        """Tell whether the input has no end yet."""
        return index in self._open


class Item(NamedTuple):
    """An input that waits for a batch, or is in one."""

    pack: BatchedPack
    number: int

    @property
    def call_id(self) -> str:
        return self.pack.run.call_id

    @property
    def payload(self) -> bytes | BlobRef:
        return self.pack.run.args[self.number - self.pack.run.first]


class Batch:
    """Inputs that run together. What has no end when their code is through gets it then."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.turn: Turn | None = None

    @property
    def wanted(self) -> bool:
        """Whether any of its inputs has no end yet."""
        return any(item.pack.is_open(item.number) for item in self.items)

    def began(self) -> Began:
        """Return the frame that says so."""
        return Began(tokens=tuple(dict.fromkeys(item.pack.run.token for item in self.items)))


class BatchInbox:
    """Frames from the worker to a batched function, and the batches made of them."""

    def __init__(
        self,
        batching: Batching,
        timeout: float,
        room: int,
        send: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds that a batch may take. `room`: batches that may run at the same time.

        `send(frame)` tells the ends of inputs that are cancelled.
        """
        self._timeout = timeout
        self._room = room
        self._send = send
        self._clock = clock
        self._batcher: Batcher[Item] = Batcher(batching.max_batch_size, batching.wait_ms / 1000)
        self._running: dict[int, Batch] = {}
        self.stop: Stop | None = None
        self.stop_by = 0.0

    def accept(self, frame: Any) -> None:
        """Take a frame in."""
        if isinstance(frame, Run):
            now, pack = self._clock(), BatchedPack(frame)
            for offset in range(len(frame.args)):
                self._batcher.add(Item(pack, frame.first + offset), now)
        elif isinstance(frame, Stop):
            self.end(frame)
        elif isinstance(frame, Cancel):
            self._cancel(frame)

    def end(self, stop: Stop) -> None:
        """Begin nothing any more. The first to say so says by when."""
        if self.stop is None:
            self.stop = stop
            self.stop_by = self._clock() + stop.grace_s

    def preempt(self, grace_s: float) -> None:
        """Begin nothing any more, and interrupt all that runs: it will run again elsewhere."""
        self.end(Stop(grace_s=grace_s))
        for batch in list(self._running.values()):
            if batch.turn is not None:
                batch.turn.interrupt("preempted")

    @property
    def waiting(self) -> int:
        """Inputs that wait for a batch."""
        return len(self._batcher)

    def next(self) -> Batch | None:
        """Return a batch that is to run now; None when there is none, no room, or the guest is to stop."""
        if self.stop is not None or len(self._running) >= self._room:
            return None
        items = self._batcher.take(self._clock())
        if not items:
            return None
        batch = Batch(items)
        self._running[id(batch)] = batch
        return batch

    def over(self, batch: Batch) -> None:
        """The batch does not run any more."""
        del self._running[id(batch)]

    def due(self) -> float | None:
        """Return when `next` has something though no frame has come (monotonic); None for never."""
        return None if self.stop is not None or len(self._running) >= self._room else self._batcher.due()

    def _cancel(self, command: Cancel) -> None:
        def meant(item: Item) -> bool:
            return item.pack.run.token == command.token and (
                not command.indices or item.number in command.indices
            )

        running = list(self._running.values())
        if command.why == "timeout":
            for batch in running:
                # They began together: one is late when all are. A young batch is not the one that the worker saw.
                turn = batch.turn
                if (
                    turn is not None
                    and any(map(meant, batch.items))
                    and turn.ran() >= self._timeout * MISFIRE
                ):
                    turn.interrupt("timeout")
            return
        ended = self._batcher.discard(meant)
        for batch in running:
            ended += filter(meant, batch.items)
        ended = [item for item in ended if item.pack.claim(item.number)]
        if ended:
            # At once, also of those that run: what they are computed with may be wanted for others.
            results = tuple(InputResult(index=item.number, status="cancelled") for item in ended)
            self._send(Results(token=command.token, results=results))
        for batch in running:
            if batch.turn is not None and not batch.wanted:
                batch.turn.interrupt("cancelled")
