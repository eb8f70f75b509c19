"""One input on its way: the call of `.remote()`, and of whoever waits for a spawned call's result."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from afield import _blocked
from afield._blocked import Blocked
from afield._bus.publisher import Flight
from afield._wire.messages import GeneratorChunk, InputResult
from afield.exception import InputCancellation, InternalFailure

ONLY: Final = "0-1"
"""The pack of a call with one input."""


class SingleCall:
    """A sink (see `_inbox`) for one input; `done` is called once, on the client's loop, when it has ended."""

    __slots__ = (
        "call_id",
        "done",
        "error",
        "flight",
        "index",
        "missed",
        "parent",
        "places",
        "result",
        "since",
        "sweep_at",
    )

    def __init__(
        self,
        call_id: str,
        done: Callable[["SingleCall"], None],
        *,
        index: int = 0,
        places: Sequence[str] = (ONLY,),
        parent: str = "",
    ) -> None:
        self.call_id = call_id
        self.parent = parent
        self.done: Callable[[SingleCall], None] | None = done
        self.index = index
        self.places = list(places)
        self.flight: Flight | None = None
        """Its input on its way, if that may not have asked for an ack."""
        self.result: InputResult | None = None
        self.error: BaseException | None = None
        self.since = self.sweep_at = time.monotonic()
        self.missed = 0

    def on_results(self, results: Sequence[InputResult]) -> None:
        """Keep the first result."""
        for result in results:
            if result.index != self.index:
                continue
            if result.status == "moved":
                self.places = [f"{self.index}-1"]
            elif self.done is not None:
                self.result = result
                self._end()

    def on_chunk(self, number: int, chunk: GeneratorChunk) -> None:  # noqa: ARG002 - as Sink has it
        """Refuse: this call is not a generator's."""
        self.fail(InternalFailure(f"call {self.call_id} got chunk {number} of a generator, which it is not"))

    def missing(self, before: float) -> list[str]:
        """Where its result is, if it has waited since before `before`."""
        return self.places if self.since <= before and self.done is not None else []

    def fail(self, error: BaseException) -> None:
        """End in an error of the platform."""
        if self.done is not None:
            self.error = error
            self._end()

    def _end(self) -> None:
        done, self.done = self.done, None
        assert done is not None
        done(self)


class Waiter:
    """Blocks a thread until a call on the portal's loop has ended."""

    __slots__ = ("_lock", "call", "started")

    def __init__(self) -> None:
        self.started: SingleCall | None = None
        """The call on its way."""
        self.call: SingleCall | None = None
        """The call once it has ended."""
        self._lock = threading.Lock()
        self._lock.acquire()

    def done(self, call: SingleCall) -> None:
        """Let the thread go on."""
        self.call = call
        self._wake()

    def wait(self) -> SingleCall:
        """Block, interruptible by a signal or by `_blocked.wake`. Raises InputCancellation for the latter."""
        with Blocked(self._wake):
            _blocked.acquire(self._lock)
        if self.call is None:
            raise InputCancellation("this input was interrupted while it waited for a call of its own")
        return self.call

    def _wake(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it has been woken, and its result comes late
            pass
