"""The packs that a guest holds, and what was asked of them. Pure: frames in, answers out."""

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final

from afield._guest.reports import Reports
from afield._guest.turns import Turn
from afield._wire.guest import Cancel, Credit, Recall, Recalled, Run, Stop
from afield._wire.messages import BlobRef

MISFIRE: Final = 0.5
"""An input that ran for less than this part of its timeout is not the one that the worker found late."""

LATE: Final = 0.9
"""An input that ran for more than this part of its timeout may be meant by a ring that seems to be for something else."""


class Pack:
    """A Run frame on its way through the guest.

    With threads, one runs the pack while another takes frames in. Each says what it does before it looks at what the
    other said (`turn` and `cancelled` here), so that an input is either not begun or interrupted.
    """

    __slots__ = ("_cancelled", "credit", "done", "reports", "run", "turn")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.credit = run.credit
        """Values that a generator may have yielded in all."""
        self.done = 0
        """Inputs that have ended."""
        self.turn: Turn | None = None
        """What runs the input `turn.index`, or ran it last."""
        self.reports: Reports | None = None
        """Where its results wait for each other."""
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

    @property
    def cancelled(self) -> bool:
        """Tell whether the input that runs, or is next, is not wanted any more."""
        return bool(self._cancelled) and self.index in self._cancelled

    def cancel(self, indices: Collection[int]) -> None:
        """Interrupt the input that runs, if it is among these (all, if there are none), and begin none of them."""
        self._cancelled.update(indices or range(self.run.first, self.run.first + len(self.run.args)))
        turn = self.turn
        if turn is not None and turn.index in self._cancelled:
            turn.interrupt("cancelled")

    def late(self, indices: Collection[int], timeout: float) -> None:
        """Interrupt the input that runs: it has had its time (`timeout` seconds).

        The worker may not know of the last ends, and mean another (`indices`). If the one that runs is too young to be
        late, it is told instead.
        """
        turn = self.turn
        if turn is None:
            return
        if turn.index in indices or turn.ran() >= timeout * MISFIRE:
            turn.interrupt("timeout")
        else:
            self.tell()

    def allows(self, sent: int) -> bool:
        """Tell whether a generator that has yielded `sent` values may yield another."""
        return sent < self.credit

    def tell(self) -> None:
        """Send what results there are."""
        if self.reports is not None:
            self.reports.flush()

    def allow(self, total: int) -> None:
        """Let a generator yield `total` values in all; an old number, come late, takes nothing back."""
        if total > self.credit:
            self.credit = total
            if self.turn is not None:
                self.turn.credited()


class Inbox:
    """Frames from the worker, put where they belong."""

    def __init__(
        self,
        timeout: float,
        send: Callable[[Any], None],
        room: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds that an input may take. `send(frame)` answers the worker. `room`: packs that may run at the same time."""
        self._timeout = timeout
        self._send = send
        self._room = room
        self._clock = clock
        self.running: dict[int, Pack] = {}
        """By token."""
        self.waiting: deque[Pack] = deque()
        self.stop: Stop | None = None
        self.stop_by = 0.0
        """When the container is to have ended (monotonic), once it is to stop."""
        self._cancel_unrung = False
        self._recall_unrung = False

    def accept(self, frame: Any) -> None:
        """Take a frame in. A Cancel or Credit of a pack that is over means nothing any more."""
        if isinstance(frame, Run):
            self.waiting.append(Pack(frame))
        elif isinstance(frame, Stop):
            self.end(frame)
        elif isinstance(frame, Recall):
            self._recall_unrung = True
            self._give_back(frozenset(frame.tokens))
        elif isinstance(frame, Cancel):
            self._cancel_unrung = self._cancel_unrung or frame.token in self.running
            if pack := self._find(frame.token):
                if frame.why == "timeout":
                    pack.late(frame.indices, self._timeout)
                else:
                    pack.cancel(frame.indices)
        elif isinstance(frame, Credit) and (pack := self._find(frame.token)):
            pack.allow(frame.total)

    def end(self, stop: Stop) -> None:
        """Begin nothing any more. The first to say so says by when."""
        if self.stop is None:
            self.stop = stop
            self.stop_by = self._clock() + stop.grace_s

    def preempt(self, grace_s: float) -> None:
        """Begin nothing any more, and interrupt all that runs: it will run again elsewhere."""
        self.end(Stop(grace_s=grace_s))
        for pack in list(self.running.values()):
            if pack.turn is not None:
                pack.turn.interrupt("preempted")

    def ring(self) -> None:
        """The worker rang, and the frames that it sent before are taken in. For one pack at a time.

        A ring with a Cancel means that Cancel, one with a Recall that, and one with neither means that the running input
        is late. If it is not interrupted, the worker rang for another, of whose end it does not know yet. Two rings may
        come as one: that of a Recall interrupts an input that is about to be late.
        """
        for_cancel, self._cancel_unrung = self._cancel_unrung, False
        for_recall, self._recall_unrung = self._recall_unrung, False
        for pack in self.running.values():
            if not for_cancel:
                if not for_recall or (pack.turn is not None and pack.turn.ran() >= LATE * self._timeout):
                    pack.late((), self._timeout)
            elif pack.turn is not None and pack.turn.interrupted is None:
                pack.tell()

    def next(self) -> Pack | None:
        """Move the next pack to those that run; None when there is none, no room, or the guest is to stop."""
        if not self.waiting or self.stop is not None or len(self.running) >= self._room:
            return None
        self._cancel_unrung = self._recall_unrung = False
        pack = self.waiting.popleft()
        self.running[pack.run.token] = pack
        return pack

    def over(self, pack: Pack) -> None:
        """The pack does not run any more."""
        del self.running[pack.run.token]

    def due(self) -> float | None:
        """Return when `next` has something though no frame has come (monotonic); None for never."""
        return None

    def _give_back(self, tokens: frozenset[int]) -> None:
        """Forget the packs with these tokens that have not begun, and say which those are."""
        gone = tuple(pack.run.token for pack in self.waiting if pack.run.token in tokens)
        self.waiting = deque(pack for pack in self.waiting if pack.run.token not in tokens)
        self._send(Recalled(tokens=gone))

    def _find(self, token: int) -> Pack | None:
        pack = self.running.get(token)
        return pack or next((pack for pack in self.waiting if pack.run.token == token), None)
