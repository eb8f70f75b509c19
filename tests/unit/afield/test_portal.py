"""The loop behind blocking calls."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from afield import _blocked, _portal
from afield._portal import Portal, get_portal
from afield._single import Waiter
from afield.exception import InputCancellation, InvalidError


async def value() -> int:
    return 1


def interrupt_from_here() -> None:
    """Press Ctrl-C with a signal that does not wake the main thread, as it may happen to one that is about to sleep."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_there_is_one_portal() -> None:
    """All blocking calls of a process share a loop."""
    assert get_portal() is get_portal()


def test_interrupt_cancels_what_runs() -> None:
    """Ctrl-C in a blocking call ends the work on the loop before it is raised."""
    cancelled = threading.Event()
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def interrupt() -> None:
        begun.wait(10)
        interrupt_from_here()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        get_portal().run(work)
    thread.join()

    assert cancelled.is_set()


def test_interrupt_ends_the_wait_for_a_call() -> None:
    """Whichever thread the kernel gives the signal to."""
    waiter = Waiter()
    thread = threading.Timer(0.05, interrupt_from_here)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        waiter.wait()
    thread.join()


def test_error_of_the_work_is_raised_also_when_it_is_a_timeout() -> None:
    """And not taken for the end of a turn of waiting."""

    async def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        get_portal().run(work)


def test_work_that_takes_several_turns_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for as long as it takes."""
    monkeypatch.setattr(_blocked, "LOOK_S", 0.001)

    async def work() -> int:
        await asyncio.sleep(0.05)
        return 1

    assert get_portal().run(work) == 1


def test_blocking_call_on_the_portal_itself_is_refused() -> None:
    """It would wait for itself for ever."""

    async def inside() -> None:
        get_portal().run(value)

    with pytest.raises(InvalidError, match=r"\.aio"):
        get_portal().run(inside)


@pytest.mark.anyio
async def test_cancelling_a_bridged_call_cancels_it_there() -> None:
    """The caller's cancellation crosses to the portal's loop."""
    cancelled = threading.Event()
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(get_portal().bridge(work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()

    assert await asyncio.to_thread(cancelled.wait, 10)


def test_forked_child_gets_a_portal_of_its_own() -> None:
    """Threads do not survive a fork, so neither does a portal."""
    get_portal().run(value)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if get_portal().run(value) == 1 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_was_never_left_is_left_at_the_end() -> None:
    """A script that ends inside a run still ends the run."""
    left: list[str] = []

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        try:
            yield
        finally:
            left.append("left")

    portal = Portal()
    portal.enter(run()).__enter__()
    portal.close()

    assert left == ["left"]


def test_interrupt_while_it_enters_leaves_nothing() -> None:
    """What was half entered is cancelled, and the loop serves others as before."""
    ended = threading.Event()
    begun = threading.Event()

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        try:
            begun.set()
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    def interrupt() -> None:
        begun.wait(10)
        interrupt_from_here()

    portal = Portal()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        portal.enter(run()).__enter__()
    thread.join()

    assert ended.is_set()
    assert portal.run(value) == 1
    portal.close()


@pytest.mark.parametrize("when", ["enter", "leave"])
def test_error_of_a_context_manager_is_its_callers(when: str) -> None:
    """The loop serves others as before."""

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        if when == "enter":
            raise ValueError("no")
        yield
        raise ValueError("no")

    portal = Portal()
    with pytest.raises(ValueError, match="no"), portal.enter(run()):
        pass

    assert portal.run(value) == 1
    portal.close()


def test_interrupt_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is there for whoever comes next, be it the end of the process."""
    go_on = threading.Event()

    class Slow(Portal):
        def __init__(self) -> None:
            go_on.wait(10)
            super().__init__()

    for name, instead in {"_portal": None, "_made": None, "Portal": Slow}.items():
        monkeypatch.setattr(_portal, name, instead)
    thread = threading.Timer(0.05, interrupt_from_here)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        get_portal()
    thread.join()
    go_on.set()

    made = get_portal()
    assert made.run(value) == 1
    _portal._close(made)


def test_a_woken_thread_ends_what_it_waits_for() -> None:
    """A thread that takes no signals can be told not to wait; the work on the loop ends first."""
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    seen: list[bool] = []

    def blocked() -> None:
        with pytest.raises(InputCancellation):
            get_portal().run(work)
        seen.append(cancelled.is_set())

    thread = threading.Thread(target=blocked)
    thread.start()
    begun.wait(10)
    assert thread.ident is not None
    _blocked.wake(thread.ident)
    thread.join(10)

    assert seen == [True]


def test_waking_a_thread_that_does_not_wait_does_nothing() -> None:
    """It may have got its result just before."""
    assert get_portal().run(value) == 1
    _blocked.wake(threading.get_ident())

    assert get_portal().run(value) == 1


@pytest.mark.parametrize("line", ["get_portal()", "_portal._begin()", "_portal._begin(); os.fork()"])
def test_a_program_that_is_interrupted_dies_by_the_signal(line: str) -> None:
    """A shell ends its loops by that. Python forgets it when anything executes text later, as imports do."""
    program = (
        "import atexit, os\nfrom afield import _portal\nfrom afield._portal import get_portal\n"
        f"{line}\natexit.register(lambda: exec('1'))\nraise KeyboardInterrupt"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == -signal.SIGINT, done.stderr
    assert "Exception" not in done.stderr
