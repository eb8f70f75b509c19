"""The packs that a guest holds, and what was asked of them. Pure: frames in, answers out."""

from collections import deque
from typing import Any, Final, Literal

from afield._wire.guest import Cancel, Credit, Run, Stop
from afield._wire.messages import BlobRef

Interruption = Literal["cancelled", "timeout"]
"""Why a running input is ended."""

_MISFIRE: Final = 0.5
"""An input that ran for less than this part of its timeout is not the one that the worker found late."""


class Pack:
    """A Run frame on its way through the guest."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.credit = run.credit
        """Values that a generator may have yielded in all."""
        self.done = 0
        """Inputs that have ended."""
        self._cancelled: set[int] = set()

    @property
    def index(self) -> int:
        """The input that runs, or is next."""
        return self.run.first + self.done

    @property
    def payload(self) -> bytes | BlobRef:
        """The arguments of that input."""
        return self.run.args[self.done]

    @property
    def over(self) -> bool:
        return self.done == len(self.run.args)

    def cancel(self, command: Cancel) -> None:
        """Remember that inputs are not wanted any more."""
        all_indices = range(self.run.first, self.run.first + len(self.run.args))
        self._cancelled.update(command.indices or all_indices)

    @property
    def cancelled(self) -> bool:
        """Tell whether the input that runs, or is next, is not wanted any more."""
        return self.index in self._cancelled


class Inbox:
    """Frames from the worker, put where they belong."""

    def __init__(self) -> None:
        self.current: Pack | None = None
        """The pack that runs."""
        self.waiting: deque[Pack] = deque()
        self.stop: Stop | None = None
        self._cancel_unrung = False

    def accept(self, frame: Any) -> None:
        """Take a frame in. A Cancel or Credit of a pack that is over means nothing any more."""
        if isinstance(frame, Run):
            self.waiting.append(Pack(frame))
        elif isinstance(frame, Stop):
            self.stop = frame
        else:
            for pack in (self.current, *self.waiting):
                if pack is None or pack.run.token != frame.token:
                    continue
                if isinstance(frame, Cancel):
                    pack.cancel(frame)
                    self._cancel_unrung = True
                elif isinstance(frame, Credit):
                    pack.credit = max(pack.credit, frame.total)

    def ring(self, ran: float, timeout: float) -> Interruption | None:
        """Return how the running input is to end, now that the worker has rung and its frames are taken in.

        A ring with a Cancel means that Cancel. A ring without one means that the running input is late; it comes
        too late itself if that input, by then `ran` seconds old, is not the one that the worker saw (`timeout`
        seconds is what it may take).
        """
        for_cancel, self._cancel_unrung = self._cancel_unrung, False
        if self.current is None or self.current.over:
            return None
        if self.current.cancelled:
            return "cancelled"
        return "timeout" if not for_cancel and ran >= timeout * _MISFIRE else None

    def next(self) -> Pack | None:
        """Make the next pack the current one; None when there is none, or the guest is to stop."""
        self._cancel_unrung = False
        self.current = self.waiting.popleft() if self.waiting and self.stop is None else None
        return self.current
