"""Which threads of this process are blocked in calls of ours, so that whoever interrupts one can wake it.

An exception that is set in another thread arrives between two steps of Python code, and a thread that waits for a lock
takes none. (A signal, which the main thread gets, needs no help.)
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_S: Final = 1.0
"""Seconds after which a blocked thread looks whether it was interrupted. A signal that comes just before it sleeps does not
wake it, and neither does one that the kernel gives to another thread of the process."""

_wakers: Final[dict[int, Callable[[], object]]] = {}
"""By thread: what ends its wait."""


class Blocked:
    """`with Blocked(waker):` this thread waits for something. `waker` ends the wait; it is called from another thread,
    at any time, also when the wait is just over.
    """

    __slots__ = ("_thread", "_waker")

    def __init__(self, waker: Callable[[], object]) -> None:
        self._waker = waker

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        _wakers[self._thread] = self._waker

    def __exit__(self, *_: object) -> None:
        _wakers.pop(self._thread, None)


def acquire(lock: "threading.Lock") -> None:
    """Wait for a lock, interruptible by signals."""
    while not lock.acquire(timeout=LOOK_S):
        pass


def result(future: "Future[T]") -> T:
    """Wait for a future, interruptible by signals, and return its result, or raise its error."""
    while True:
        try:
            return future.result(LOOK_S)
        except TimeoutError:
            if future.done():  # it is the future's own, or has come too late to be waited for
                return future.result()


def wake(thread: int) -> None:
    """Wake a thread if it waits in a call of ours: that raises InputCancellation then. For the guest."""
    waker = _wakers.get(thread)
    if waker is not None:
        waker()
