"""Threads that run synchronous code beside the one that reads the link, and their turns."""

import contextvars
import ctypes
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from afield import _blocked
from afield._guest.endings import die
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.outcomes import Interruption, Outcomes
from afield._guest.turns import RAISED, SyncTurn

W = TypeVar("W")

_set_async_exc: Final[Any] = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int


class ThreadTurn(SyncTurn):
    """A turn in a thread of its own, into which the thread that reads the link can raise.

    The exception arrives a little after it was set, and must not arrive in the thread's next turn. So the thread, as
    it leaves user code, first says so, then looks whether it was interrupted, and if so waits until the exception is
    set, and takes it back; who interrupts first says that, then looks whether user code still runs. Only one thread
    interrupts, and once, so that there is never more than one exception of theirs on its way.

    It arrives between two steps of Python code: a call that waits in C (a sleep, a read) comes to its end first. Only
    our own blocking calls are woken.
    """

    __slots__ = ("_aimed", "_aiming", "_armed", "_credited", "_thread")

    def __init__(self, link: Link, outcomes: Outcomes, index: int = 0, now: float = 0.0) -> None:
        super().__init__(link, outcomes, index, now)
        self._armed = False
        self._aimed = False
        self._credited: threading.Event | None = None

    def arm(self) -> None:
        self._thread = threading.get_ident()
        self._armed = True
        if self.interrupted is not None:
            raise RAISED[self.interrupted](f"this input was interrupted: {self.interrupted}")

    def disarm(self) -> None:
        self._armed = False
        if self.interrupted is not None:
            if not self._aimed:
                # Held by who interrupts while it aims. Never given back: this is the last to want it.
                self._aiming.acquire()
            _take_back()

    def interrupt(self, why: Interruption) -> None:
        if self.interrupted is not None:
            return
        self._aiming = threading.Lock()
        with self._aiming:
            self.interrupted = why
            if self._armed:
                _set_async_exc(self._thread, RAISED[why])
                _blocked.wake(self._thread)
            self._aimed = True
        self.credited()

    def credited(self) -> None:
        waiting = self._credited
        if waiting is not None:
            waiting.set()

    def wait(self, enough: Callable[[], bool]) -> None:
        waiting = self._credited = self._credited or threading.Event()
        while not enough() and self.interrupted is None:
            waiting.wait()
            waiting.clear()
        if self.interrupted is not None:
            waiting.set()


class _TakenBack(BaseException):
    """Raised in place of an interruption that is wanted no more."""


def _take_back() -> None:
    """Have no exception be on its way to this thread any more.

    One of ours takes the place of whatever has not arrived, and arrives here. To set none instead would leave a flag of
    the interpreter up for good, which only an arrival takes down: CPython 3.11 then hangs as soon as any thread calls a
    function while it is traced (`sys.settrace`: debuggers, coverage), since it looks again and again for what is not there.
    """
    try:
        _set_async_exc(threading.get_ident(), _TakenBack)
        for _ in range(2):
            pass  # here at the latest; if not, it hit a callback of the collector, and is gone
    except _TakenBack:
        pass


class WorkThreads(Generic[W]):
    """A bounded number of threads, each started when there is work and all others are busy."""

    def __init__(self, limit: int, work: Callable[[W], None], left: Callable[[], None]) -> None:
        """`work(item)` runs in a thread, in a copy of the context of this moment; `left()` as a thread ends."""
        self._limit = limit
        self._work = work
        self._left = left
        self._context = contextvars.copy_context()
        self._items: queue.SimpleQueue[W | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._ended: list[threading.Thread] = []

    def submit(self, item: W) -> None:
        """Have a thread work on `item`, as soon as one is free."""
        self._items.put(item)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            name = f"afield-input-{len(self._threads)}"
            thread = threading.Thread(target=self._live, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let each thread end behind what it works on."""
        for _ in self._threads:
            self._items.put(None)

    @property
    def over(self) -> bool:
        """Tell whether no thread works any more, after `close`."""
        return len(self._ended) == len(self._threads)

    def _live(self) -> None:
        try:
            while (item := self._items.get()) is not None:
                self._context.copy().run(self._work, item)
                self._idle.release()
        except LinkClosedError as error:
            die(error)
        except BaseException as error:  # a bug of ours: what user code raises ends its input only
            traceback.print_exc()
            die(error)
        self._ended.append(threading.current_thread())
        self._left()
