"""Whoever stops waiting stops the work: on the real platform, with what runs and with what waits."""

import asyncio
import itertools
import os
import re
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

import afield
from afield.exception import CallCancelledError, FunctionTimeoutError
from support.launching import wait_for

GET_S = 30
"""Seconds to wait for the end of a call that was cancelled."""


class Notes:
    """What the functions of `family` noted in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder)

    def names(self, what: str) -> list[str]:
        """Of those to whom this happened, once for each time."""
        return sorted(p.name.split(".")[0] for p in self.folder.iterdir() if p.name.split(".")[1] == what)

    def pids(self, name: str) -> list[int]:
        """The processes in which a function began."""
        return [int(p.name.split(".")[2]) for p in self.folder.glob(f"{name}.begun.*")]

    def wait(self, what: str, *names: str) -> None:
        """Wait until this has happened to all of them."""
        wait_for(lambda: not Counter(names) - Counter(self.names(what)), f"{names} {what}", timeout=40)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """An empty folder."""
    return Notes(tmp_path)


@pytest.fixture
def family(fleet: ModuleType) -> Iterator[ModuleType]:
    """The module `family`, with its app running."""
    import importlib

    module = importlib.import_module("family")
    with module.app.run():
        yield module


def interrupted_when(condition: Callable[[], object], work: Callable[[], Any]) -> None:
    """Run `work` in this thread, as the main thread that it is, and press Ctrl-C once the condition holds."""

    def press() -> None:
        wait_for(condition, "the moment to interrupt")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    thread.join()


@pytest.mark.parametrize("function", ["sleeper", "async_sleeper"])
def test_running_call_is_interrupted(family: ModuleType, notes: Notes, function: str) -> None:
    """The code gets the exception of its kind, and the call ends as cancelled for good: no retry, same answer later."""
    call = getattr(family, function).spawn(notes.path, "it")
    notes.wait("begun", "it")
    call.cancel()

    for _ in range(2):
        with pytest.raises(CallCancelledError, match="cancelled"):
            call.get(timeout=GET_S)
    notes.wait("cancelled", "it")
    assert notes.names("begun") == ["it"]
    assert getattr(family, function).remote(notes.path, "next", 0) == "next"


def test_queued_call_never_begins(family: ModuleType, notes: Notes) -> None:
    """And those before and behind it notice nothing."""
    first = family.queuer.spawn(notes.path, "first", 2)
    notes.wait("begun", "first")
    second, third = (family.queuer.spawn(notes.path, name, 0) for name in ("second", "third"))
    second.cancel()

    with pytest.raises(CallCancelledError):
        second.get(timeout=GET_S)
    assert afield.FunctionCall.gather(first, third) == ["first", "third"]
    assert notes.names("begun") == ["first", "third"]


def test_cancelling_twice_or_too_late_changes_nothing(family: ModuleType, notes: Notes) -> None:
    """A result that is there stays."""
    call = family.sleeper.spawn(notes.path, "it", 0)
    assert call.get(timeout=GET_S) == "it"
    call.cancel()
    call.cancel()

    assert call.get(timeout=GET_S) == "it"


def test_containers_can_be_terminated(family: ModuleType, notes: Notes) -> None:
    """Whatever the code does about it."""
    call = family.sleeper.spawn(notes.path, "it")
    notes.wait("begun", "it")
    (pid,) = notes.pids("it")
    call.cancel(terminate_containers=True)

    with pytest.raises(CallCancelledError):
        call.get(timeout=GET_S)
    wait_for(lambda: not psutil.pid_exists(pid), "the container to end")


def test_interrupt_of_a_blocking_call(family: ModuleType, notes: Notes) -> None:
    """Ctrl-C ends the waiting and the work."""
    assert family.sleeper.remote(notes.path, "warm", 0) == "warm"
    interrupted_when(lambda: "it" in notes.names("begun"), lambda: family.sleeper.remote(notes.path, "it"))

    notes.wait("cancelled", "it")


def test_interrupt_of_a_map(family: ModuleType, notes: Notes) -> None:
    """All that runs is interrupted, and what waits does not begin."""
    names = [f"it-{n}" for n in range(20)]
    interrupted_when(
        lambda: notes.names("begun"), lambda: list(family.queuer.map([notes.path] * len(names), names))
    )

    notes.wait("cancelled", "it-0")
    assert family.queuer.remote(notes.path, "next", 0) == "next"
    assert notes.names("begun") == ["it-0", "next"]


def test_interrupt_of_a_generator(family: ModuleType, notes: Notes) -> None:
    """Also while its next value is waited for."""
    interrupted_when(
        lambda: "it" in notes.names("begun"), lambda: list(family.counter.remote_gen(notes.path, "it"))
    )

    notes.wait("cancelled", "it")


@pytest.mark.anyio
async def test_timeout_of_the_caller(family: ModuleType, notes: Notes) -> None:
    """A task that stops waiting cancels its call."""

    async def call() -> None:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            group.create_task(family.sleeper.remote.aio(notes.path, "it"))
            await asyncio.to_thread(notes.wait, "begun", "it")
            limit.reschedule(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):
        await call()
    await asyncio.to_thread(notes.wait, "cancelled", "it")


def test_map_that_is_left_in_the_middle(family: ModuleType, notes: Notes) -> None:
    """A loop that breaks wants no more results."""
    seconds = [0.0, *itertools.repeat(600.0, 9)]
    for name in family.queuer.map([notes.path] * 10, [f"it-{n}" for n in range(10)], seconds):
        assert name == "it-0"
        notes.wait("begun", "it-1")
        break

    notes.wait("cancelled", "it-1")
    assert family.queuer.remote(notes.path, "next", 0) == "next"
    assert notes.names("begun") == ["it-0", "it-1", "next"]


def test_stopped_app_ends_its_calls(family: ModuleType, notes: Notes) -> None:
    """What runs is interrupted, what waits does not begin, and whoever asks for a result learns why there is none."""
    running, waiting = (family.queuer.spawn(notes.path, name) for name in ("running", "waiting"))
    notes.wait("begun", "running")
    family.app.stop()

    notes.wait("cancelled", "running")
    for call in (running, waiting):
        with pytest.raises(CallCancelledError, match="was stopped: its client asked for it"):
            afield.FunctionCall.from_id(call.object_id).get(timeout=GET_S)
    assert notes.names("begun") == ["running"]


# -- children -----------------------------------------------------------------------------------------


def children_left(family: ModuleType) -> int:
    """How many inputs of `child` wait or run."""
    stats = family.child.get_current_stats()
    return int(stats.backlog) + int(stats.num_running_inputs)


@pytest.mark.parametrize("how", ["remote", "map", "spawn", "spawn_map", "gather", "grandchild"])
def test_children_end_with_their_parent(family: ModuleType, notes: Notes, how: str) -> None:
    """Waited for or not, running or waiting, directly or by way of another: none is left, and none begins any more."""
    call = family.parent.spawn(notes.path, how)
    first = 1 if how in ("remote", "grandchild") else 3
    wait_for(lambda: len([n for n in notes.names("begun") if "child" in n]) == first, "children", timeout=40)
    call.cancel()

    with pytest.raises(CallCancelledError):
        call.get(timeout=GET_S)
    notes.wait("cancelled", *notes.names("begun"))
    wait_for(lambda: children_left(family) == 0, "the children to end", timeout=40)
    assert notes.names("begun") == notes.names("cancelled")


@pytest.mark.parametrize("how", ["gather", "map"])
def test_children_of_an_asynchronous_parent(family: ModuleType, notes: Notes, how: str) -> None:
    """The same, with tasks."""
    call = family.async_parent.spawn(notes.path, how)
    wait_for(lambda: notes.names("begun").count("parent") and len(notes.names("begun")) == 4, "children")
    call.cancel()

    notes.wait("cancelled", *notes.names("begun"))
    wait_for(lambda: children_left(family) == 0, "the children to end", timeout=40)


def test_parent_in_a_thread(family: ModuleType, notes: Notes) -> None:
    """It is woken where it waits, and the others in its container go on."""
    one, other = (family.threaded_parent.spawn(notes.path, name) for name in ("one", "other"))
    notes.wait("begun", "one", "other", "one-child", "other-child")
    assert len({*notes.pids("one"), *notes.pids("other")}) == 1
    one.cancel()

    notes.wait("cancelled", "one", "one-child")
    assert notes.names("cancelled") == ["one", "one-child"]
    assert psutil.pid_exists(notes.pids("other")[0])
    other.cancel()
    notes.wait("cancelled", "other", "other-child")


def test_parent_with_threads_of_its_own(family: ModuleType, notes: Notes) -> None:
    """They cannot be interrupted: the container goes, and what they waited for goes with it."""
    call = family.pooling_parent.spawn(notes.path)
    notes.wait("begun", "parent", "child-0", "child-1", "child-2")
    call.cancel()

    with pytest.raises(CallCancelledError):
        call.get(timeout=GET_S)
    notes.wait("cancelled", "child-0", "child-1", "child-2")


def test_children_of_a_killed_parent(family: ModuleType, notes: Notes) -> None:
    """The next attempt makes its own; those that the dead one waited for do not run beside them."""
    call = family.parent.spawn(notes.path, "remote")
    notes.wait("begun", "parent", "child-0")
    notes.wait("lasting", "child-0")  # by then it is told, which calls that last less than TELL_S are not
    os.kill(notes.pids("parent")[0], signal.SIGKILL)

    notes.wait("begun", "parent", "parent", "child-0", "child-0")
    notes.wait("cancelled", "child-0")
    call.cancel()
    notes.wait("cancelled", "child-0", "child-0")
    assert notes.names("begun").count("child-0") == 2


# -- attempts -----------------------------------------------------------------------------------------


def test_error_tells_of_the_attempts_before(family: ModuleType, notes: Notes) -> None:
    """In notes, which every traceback shows."""
    with pytest.raises(ValueError, match="attempt 3 failed") as caught:
        family.unlucky.remote(notes.path)

    shown = "".join(traceback.format_exception(caught.value))
    for number in (1, 2):
        told = rf"attempt {number} of 3 ended at \S+ in container ta-\S+: ValueError: attempt {number} failed"
        assert re.search(told, shown), shown


def test_timeout_shows_where_the_code_was(family: ModuleType) -> None:
    """The error is the builtin one, too, and its traceback ends in the function that took too long."""
    with pytest.raises(TimeoutError) as caught:
        family.busy.remote()

    assert isinstance(caught.value, FunctionTimeoutError)
    shown = "".join(traceback.format_exception(caught.value))
    assert "in spin_for_ever" in shown
