"""One thread that waits for descriptors, signals and times, and calls back. No callback may block.

A supervisor starts in a tenth of the time that asyncio takes to import, and waits for nothing that this cannot do.
"""

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

Callback = Callable[[], object]


class Timer:
    """A call to come. `cancel` takes it back."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Do not call; harmless when it has been called."""
        self.callback = None


class Reactor:
    """Descriptors, signals and timers of one process. Make it on the main thread; `close` gives the signals back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._ties = itertools.count()
        self._signals: dict[int, Callback] = {}
        self._old_handlers: dict[int, Any] = {}
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        self.on_readable(self._wake_r, self._deliver_signals)

    def on_readable(self, fd: int, callback: Callback) -> None:
        """Call back whenever `fd` can be read (or has ended), until `forget`."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer, and close it."""
        self._selector.unregister(fd)
        os.close(fd)

    def on_signal(self, signum: int, callback: Callback) -> None:
        """Call back after a signal came, once for several that came together."""
        self._signals[signum] = callback
        self._old_handlers[signum] = signal.signal(signum, lambda *_: None)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, `seconds` from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._ties), timer))
        return timer

    def run(self, done: Callable[[], bool]) -> None:
        """Wait and call back until `done()`."""
        while not done():
            for key, _ in self._selector.select(self._patience()):
                # An earlier callback of this round may have taken the descriptor away.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._fire()

    def close(self) -> None:
        """Give up the descriptors and signals."""
        signal.set_wakeup_fd(self._old_wakeup)
        for signum, handler in self._old_handlers.items():
            signal.signal(signum, handler)
        self.forget(self._wake_r)
        os.close(self._wake_w)
        self._selector.close()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

    def _deliver_signals(self) -> None:
        for signum in sorted(set(os.read(self._wake_r, 4096))):
            callback = self._signals.get(signum)
            if callback is not None:
                callback()
