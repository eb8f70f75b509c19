"""Turns of the main thread, where a signal interrupts.

While user code runs there, nobody reads the link. The worker rings (SIGUSR1): the handler reads it, in the main
thread, and raises right inside the user's code if that is what the frames, or the clock, ask for.
"""

import signal
from collections.abc import Callable

from afield._guest.link import Link
from afield._guest.outcomes import Interruption, Outcomes
from afield._guest.turns import RAISED, SyncTurn


class RingTurn(SyncTurn):
    """One object for all turns, one after the other."""

    __slots__ = ("_armed", "_look", "_rung", "_take_in", "_waiting")

    def __init__(
        self,
        link: Link,
        outcomes: Outcomes,
        take_in: Callable[[list[object]], None],
        look: Callable[[], None],
    ) -> None:
        """`take_in(frames)` puts frames where they belong; `look()` does so with those that came with a ring."""
        super().__init__(link, outcomes)
        self._take_in = take_in
        self._look = look
        self._armed = False
        """Whether user code runs, so that a ring may raise. Set by the main thread's code and its signal handler."""
        self._rung = False
        self._waiting = False

    def install(self) -> None:
        """Handle rings."""
        signal.signal(signal.SIGUSR1, self._on_ring)

    def arm(self) -> None:
        self._armed = True
        if self._rung:
            self._on_ring()

    def disarm(self) -> None:
        self._armed = False

    def interrupt(self, why: Interruption) -> None:
        if self.interrupted is None:
            self.interrupted = why

    def wait(self, enough: Callable[[], bool]) -> None:
        while not enough() and self.interrupted is None:
            self.wait_for_link()
            if self._rung:
                self._rung = False
                self._look()
            else:
                self._take_in(self._link.poll())

    def wait_for_link(self) -> None:
        """Wait until the link can be read, be it to its end, or it rings."""
        try:
            self._waiting = True
            if not self._rung:
                self._link.wait()
            self._waiting = False
        except _Rung:
            pass

    def _on_ring(self, *_: object) -> None:
        self._rung = True
        if self._waiting:
            self._waiting = False
            raise _Rung
        if not self._armed:
            return
        while True:
            self._armed = False  # another ring must not read the link in the middle of this one
            self._rung = False
            self._look()
            if self.interrupted is not None:
                raise RAISED[self.interrupted](f"this input was interrupted: {self.interrupted}")
            self._armed = True
            if not self._rung:
                return


class _Rung(BaseException):
    """Raised out of the wait for the link: a system call would go on waiting behind a handler that returns."""
