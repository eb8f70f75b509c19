"""Time as a thing that is passed in, so that a test can move it by hand."""

import time
from typing import Protocol

import anyio
import anyio.lowlevel


class Clock(Protocol):
    """Tells the time and waits for it."""

    def time(self) -> float:
        """Return Unix time in seconds, as records carry it."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only go forward, for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of this machine."""

    def time(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await anyio.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` is called; the fake that our own tests use."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now
        self._moved = anyio.Event()

    def time(self) -> float:
        """Return the time that was set."""
        return self._now

    def monotonic(self) -> float:
        """Return the time that was set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` and wake every sleeper whose time has come."""
        self._now += seconds
        self._moved.set()
        self._moved = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by `seconds`."""
        until = self._now + seconds
        await anyio.lowlevel.checkpoint()
        while self._now < until:
            await self._moved.wait()
