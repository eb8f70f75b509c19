"""Threads of a container, and interruptions that must hit one input and no other."""

import gc
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afield import serialization
from afield._guest import threads
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Pack
from afield._guest.synccalls import SyncCalls
from afield._guest.targets import Target, Targets
from afield._guest.threads import ThreadTurn, WorkThreads
from afield._wire.guest import Run
from afield._wire.messages import InputResult
from afield.exception import InputCancellation
from support.guests import make_start

DEADLINE = 30.0


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to nobody."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Link(ours)


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    """Makes results."""
    return Outcomes(make_start(tmp_path / "home", ""))


def calls_of(link: Link, outcomes: Outcomes) -> SyncCalls:
    nothing: Any = None
    return SyncCalls(link, nothing, outcomes, Targets("f", {}), nothing)


def target(function: Callable[..., Any]) -> Target:
    return Target(function, is_generator=False, is_async=False)


def pack_of(*args: Any) -> Pack:
    data = serialization.dumps_call(args, {}).join()
    return Pack(Run(token=1, call_id="fc-a-0-1", kind="call", first=0, args=(data,)))


def in_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def spin(rounds: int) -> int:
    """Something that is interrupted between any two of its steps."""
    total = 0
    for number in range(rounds):
        total += number
    return total


def spin_and_raise(rounds: int) -> None:
    raise KeyError(spin(rounds))


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as the interpreter can.

    And no code of other tests' tools runs in them: Python drops an interrupt that hits a callback of the collector.
    """
    before, callbacks = sys.getswitchinterval(), gc.callbacks[:]
    gc.callbacks.clear()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
    gc.callbacks[:] = callbacks


@pytest.mark.parametrize("function", [spin, spin_and_raise])
@pytest.mark.usefixtures("hasty_threads")
def test_an_interrupt_hits_its_own_turn_or_nothing(
    link: Link, outcomes: Outcomes, function: Callable[[int], Any]
) -> None:
    """Thousands of turns in one thread, half of them interrupted by another at any moment, their last one included."""
    calls = calls_of(link, outcomes)
    turns = [ThreadTurn(link, outcomes) for _ in range(4000)]
    results: list[InputResult | None] = []
    current = threading.Semaphore(0)

    def work() -> None:
        pack = pack_of(20)
        for turn in turns:
            current.release()
            results.append(calls.run(turn, pack, target(function)))

    thread = in_thread(work)
    for number, turn in enumerate(turns):
        assert current.acquire(timeout=DEADLINE)
        if number % 2:
            spin(random.randrange(40))
            turn.interrupt("cancelled")
    thread.join(DEADLINE)

    assert len(results) == len(turns), "an interrupt hit the code between two inputs"
    own = "ok" if function is spin else "error"
    assert {result and result.status for result in results[::2]} == {own}
    assert {result and result.status for result in results[1::2]} <= {own, "cancelled"}


def test_an_interrupt_reaches_code_that_runs(link: Link, outcomes: Outcomes) -> None:
    """And only that thread."""
    running = threading.Event()

    def for_ever() -> None:
        running.set()
        while True:
            pass

    calls, turn = calls_of(link, outcomes), ThreadTurn(link, outcomes)
    results: list[InputResult | None] = []
    thread = in_thread(lambda: results.append(calls.run(turn, pack_of(), target(for_ever))))
    assert running.wait(DEADLINE)

    turn.interrupt("timeout")
    thread.join(DEADLINE)

    (result,) = results
    assert result is not None
    assert result.error is not None
    assert result.error.kind == "timeout"


def test_whoever_leaves_waits_for_an_exception_that_is_being_set(
    link: Link, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would arrive in the next turn."""
    turn, armed, aiming = ThreadTurn(link, outcomes), threading.Event(), threading.Event()
    real, order = threads._set_async_exc, []

    def slow(thread: int, what: Any) -> None:
        if what is InputCancellation:
            aiming.set()
            while turn._armed:  # until the thread has said that it leaves
                pass
            order.append("set")
        real(thread, what)

    monkeypatch.setattr(threads, "_set_async_exc", slow)

    def work() -> None:
        try:
            turn.arm()
            armed.set()
            assert aiming.wait(DEADLINE)
            turn.disarm()
            order.append("left")
        except InputCancellation:
            turn.disarm()
            order.append("hit")
        spin(10_000)
        order.append("next")

    thread = in_thread(work)
    assert armed.wait(DEADLINE)
    turn.interrupt("cancelled")
    thread.join(DEADLINE)

    assert order in (["set", "left", "next"], ["set", "hit", "next"])


TRACED = """
import sys, threading
from afield._guest.threads import ThreadTurn
from afield.exception import InputCancellation

def work():
    try:
        turn.arm()
        running.set()
        while True:
            pass
    except InputCancellation:
        turn.disarm()

turn, running = ThreadTurn(None, None), threading.Event()
thread = threading.Thread(target=work)
thread.start()
running.wait()
turn.interrupt("cancelled")
thread.join()
sys.settrace(lambda *_: None)
(lambda: print("well"))()
"""


def test_code_can_be_traced_behind_an_interrupt() -> None:
    """CPython 3.11 hangs there while it is told to look for an exception that is not on its way to any thread."""
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=DEADLINE)

    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)


def test_an_interrupt_before_the_turn_raises_when_it_begins(link: Link, outcomes: Outcomes) -> None:
    """User code does not run at all then; one behind its end does nothing."""
    ran: list[int] = []
    calls, turn = calls_of(link, outcomes), ThreadTurn(link, outcomes)
    turn.interrupt("cancelled")

    result = calls.run(turn, pack_of(1), target(ran.append))
    turn.interrupt("timeout")

    assert result is not None
    assert (result.status, ran, turn.interrupted) == ("cancelled", [], "cancelled")


def test_a_wait_for_credit_ends_with_credit_or_an_interrupt(link: Link, outcomes: Outcomes) -> None:
    """And not before."""
    turn, allowed, done = ThreadTurn(link, outcomes), threading.Event(), threading.Event()

    def work() -> None:
        turn.wait(allowed.is_set)
        done.set()
        turn.wait(lambda: False)

    thread = in_thread(work)
    turn.credited()
    assert not done.wait(0.05)
    allowed.set()
    turn.credited()
    assert done.wait(DEADLINE)
    turn.interrupt("cancelled")
    thread.join(DEADLINE)

    assert not thread.is_alive()


def test_threads_are_started_as_they_are_needed() -> None:
    """Never more than the limit; what comes then waits for one of them."""
    begun: list[str] = []
    go_on, all_begun = threading.Semaphore(0), threading.Semaphore(0)

    def work(item: int) -> None:
        begun.append(threading.current_thread().name)
        all_begun.release()
        assert go_on.acquire(timeout=DEADLINE)

    pool: WorkThreads[int] = WorkThreads(2, work, lambda: None)
    for item in range(3):
        pool.submit(item)
    for _ in range(2):
        assert all_begun.acquire(timeout=DEADLINE)
    at_once = len(begun)
    go_on.release(3)
    assert all_begun.acquire(timeout=DEADLINE)

    assert at_once == 2
    assert len(set(begun)) == 2


def test_threads_end_behind_what_they_do() -> None:
    """When asked to, and say so."""
    done: list[int] = []
    left = threading.Semaphore(0)
    pool: WorkThreads[int] = WorkThreads(3, done.append, left.release)
    for item in range(5):
        pool.submit(item)

    pool.close()

    for _ in pool._threads:
        assert left.acquire(timeout=DEADLINE)
    assert pool.over
    assert sorted(done) == [0, 1, 2, 3, 4]
