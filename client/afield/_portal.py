"""The background thread whose event loop serves every blocking call of this process.

One portal for the process, started at first use. User code never runs on its loop, save for asynchronous iterators
that were given to a blocking call; values and exceptions of user code are loaded on the caller's own thread.
"""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from anyio import CancelScope, create_task_group, current_time
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from afield import _blocked
from afield._blocked import Blocked
from afield._stdio import open_standard_streams
from afield.exception import InputCancellation, InvalidError

T = TypeVar("T")

_GRACE_S: Final = 10.0
"""How long an interrupted blocking call waits for its own clean-up."""


class Portal:
    """An event loop in a thread of its own, and the ways into it from other threads and loops."""

    def __init__(self) -> None:
        # Else the loop's own files get the numbers 0 to 2, and it refuses to close those.
        open_standard_streams()
        self._manager: AbstractContextManager[BlockingPortal] = start_blocking_portal(
            "asyncio", {"use_uvloop": True}, name="afield"
        )
        self._portal = self._manager.__enter__()
        self.loop: asyncio.AbstractEventLoop = self._portal.call(asyncio.get_running_loop)
        self._thread: int = self._portal.call(threading.get_ident)
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._entered: list[_Entered] = []
        self._tasks: TaskGroup
        self._stop: asyncio.Event
        self._host, _ = self._portal.start_task(self._keep_tasks)

    async def _keep_tasks(self, *, task_status: TaskStatus[None]) -> None:
        self._stop = asyncio.Event()
        async with create_task_group() as self._tasks:
            task_status.started()
            await self._stop.wait()
            self._tasks.cancel_scope.deadline = current_time() + _GRACE_S

    @property
    def closed(self) -> bool:
        """Whether the loop has stopped, at the end of the process."""
        return self.loop.is_closed()

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an asynchronous function on the portal's loop, block until it ends, return what it returns.

        An interrupt (KeyboardInterrupt) cancels it, and is raised again when its clean-up is done. So does
        `_blocked.wake`, which raises InputCancellation.
        """
        self.refuse_own_thread()
        work = _Work(function, args)
        try:
            self.loop.call_soon_threadsafe(work.begin, self._tasks)
            with Blocked(work.wake):
                return _blocked.result(work.future)
        except BaseException as error:
            if work.woken or not work.future.done():
                self.loop.call_soon_threadsafe(work.give_up)
                work.ended.wait(_GRACE_S)
            if work.woken and isinstance(error, FutureCancelledError):
                raise InputCancellation(
                    "this input was interrupted while it waited for calls of its own"
                ) from None
            raise

    async def bridge(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an asynchronous function on the portal's loop and await it from this one."""
        if asyncio.get_running_loop() is self.loop:
            return await function(*args)
        work = _Work(function, args)
        self.loop.call_soon_threadsafe(work.begin, self._tasks)
        try:
            return await asyncio.wrap_future(work.future)
        except asyncio.CancelledError:
            self.loop.call_soon_threadsafe(work.give_up)
            raise

    def enter(self, manager: Any) -> AbstractContextManager[Any]:
        """Return the blocking form of an asynchronous context manager; it lives in one task of the portal.

        One that is entered and never left is left when the portal closes.
        """
        self.refuse_own_thread()
        return _Entered(self, manager)

    def keep(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that lives until it ends by itself. From the portal's own loop only."""
        self._tasks.start_soon(function)

    def on_close(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run an asynchronous function on the loop before the portal closes."""
        self._closing.append(function)

    def refuse_own_thread(self) -> None:
        """Raise InvalidError when called on the portal's own thread, which a blocking call would stop for ever."""
        if threading.get_ident() == self._thread:
            raise InvalidError(
                "a blocking call was made inside an asynchronous iterator that a blocking call consumes; "
                "use the .aio form there"
            )

    def close(self) -> None:
        """Leave what was not left, run what was registered with `on_close`, stop the loop and end the thread."""
        try:
            while self._entered:
                self._entered[-1].__exit__(None, None, None)
            for function in reversed(self._closing):
                self._portal.call(function)
            self._portal.call(self._stop.set)
            self._host.result()
        finally:
            self._manager.__exit__(None, None, None)


class _Entered(AbstractContextManager[Any]):
    """An asynchronous context manager in one task of the portal, which knows of it while it is entered.

    What interrupts the thread that enters or leaves it cancels that, as it does all other work of the portal.
    """

    def __init__(self, portal: Portal, manager: Any) -> None:
        self._portal = portal
        self._manager = manager
        self._why: tuple[Any, Any, Any] = (None, None, None)
        self._inside = False
        self._leave: asyncio.Event
        self._left: asyncio.Future[bool | None]

    def __enter__(self) -> Any:
        self._portal._entered.append(self)
        try:
            return self._portal.run(self._enter)
        except BaseException:
            if self._inside:  # the interrupt came when all was done
                self.__exit__(None, None, None)
            else:
                self._portal._entered.remove(self)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._portal._entered.remove(self)
        self._why = kind, error, trace
        return self._portal.run(self._exit)

    async def _enter(self) -> Any:
        self._leave = asyncio.Event()
        self._left = asyncio.get_running_loop().create_future()
        return await self._portal._tasks.start(self._live)

    async def _live(self, *, task_status: TaskStatus[Any]) -> None:
        value = await self._manager.__aenter__()
        self._inside = True
        try:
            task_status.started(value)
            await self._leave.wait()
        finally:
            await self._end()

    async def _end(self) -> None:
        try:
            result = await self._manager.__aexit__(*self._why)
        except Exception as error:  # for the thread that leaves
            if not self._left.done():
                self._left.set_exception(error)
        else:
            if not self._left.done():
                self._left.set_result(result)

    async def _exit(self) -> bool | None:
        self._leave.set()
        return await asyncio.shield(self._left)


class _Work(Generic[T]):
    """One function on its way through the portal. All but `future`, `ended` and `wake` belongs to the portal's loop.

    An interrupt can come at any point of the blocking thread, also while the work is being handed over: `give_up` comes
    after `begin` on the loop, if there was one, and knows.
    """

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        self.future: Future[T] = Future()
        self.ended = threading.Event()
        self.woken = False
        """Whether the blocked thread was told not to wait any more."""
        self._function = function
        self._args = args
        self._begun = False
        self._given_up = False
        self._scope: CancelScope | None = None

    def wake(self) -> None:
        """Have the blocked thread wait no more; from any thread."""
        self.woken = True
        self.future.cancel()

    def begin(self, tasks: TaskGroup) -> None:
        self._begun = True
        tasks.start_soon(self._run)

    def give_up(self) -> None:
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self._begun:
            self.ended.set()

    async def _run(self) -> None:
        try:
            with CancelScope() as self._scope:
                if self._given_up:
                    self._scope.cancel()
                self._finish(await self._function(*self._args))
        except asyncio.CancelledError:  # the portal closes
            self.future.cancel()
            raise
        except BaseException as error:  # the blocking thread's business, whatever it is
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)
        finally:
            self.ended.set()

    def _finish(self, result: T) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)


_lock = threading.Lock()
_portal: Portal | None = None
_made: Future[Portal] | None = None
"""Ends when the portal is there."""


def get_portal() -> Portal:
    """Return the portal of this process, starting it at first use."""
    portal = _portal
    return portal if portal is not None else _blocked.result(_begin())


def _begin() -> Future[Portal]:
    """Have the portal made in a thread: half made, because of an interrupt here, nobody could end it."""
    global _made
    with _lock:
        if _made is None:
            made: Future[Portal] = Future()
            threading.Thread(target=_make, args=(made,), name="afield-start", daemon=True).start()
            _made = made
            atexit.register(_at_exit, made)
        return _made


def _make(made: Future[Portal]) -> None:
    global _portal, _made
    try:
        portal = Portal()
    except BaseException as error:  # for whoever waits; the next one tries anew
        _made = None
        made.set_exception(error)
    else:
        _portal = portal
        made.set_result(portal)


def _close(portal: Portal) -> None:
    global _portal, _made
    if _portal is portal:
        _portal = _made = None
        portal.close()


def _at_exit(made: Future[Portal]) -> None:
    if _made is not made:  # it could not be made, or is of the process that this one is a fork of
        return
    with suppress(Exception):
        _close(made.result(_GRACE_S))
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        # The process is to end by SIGINT, which tells a shell's loop to end as well. Python forgets that when text is
        # executed after the interrupt, as imports do that make dataclasses and named tuples, on other threads too.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - of text that is ours


def _after_fork() -> None:
    """A child has none of its parent's threads: it starts a portal of its own when it needs one."""
    global _lock, _portal, _made
    _lock = threading.Lock()
    _portal = _made = None


os.register_at_fork(after_in_child=_after_fork)
