"""The end of a container whose host is taken away, for tests of programs that want to survive it.

Its code is interrupted (KeyboardInterrupt in synchronous code, CancelledError in asynchronous), its exit hooks run,
and it is killed GRACE_S seconds later if it is still there. What it ran, and did not end, runs again elsewhere.
"""

import _thread
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

GRACE_S: Final = 30.0

_preempt: Callable[[], None] = _thread.interrupt_main
"""Until there is a loop that runs inputs, as at an interrupt of any program."""
_expected = False
_container = 0
"""The process that is a container; one that user code forks is none."""


def enable() -> None:
    """Say that this process is a container."""
    global _container
    _container = os.getpid()


def in_container() -> bool:
    """Tell whether this process is a container."""
    return os.getpid() == _container


def simulate(wait_s: float) -> None:
    """Have this container preempted in `wait_s` seconds; further wishes are for naught."""
    global _expected
    if not _expected:
        _expected = True
        _start_timer(wait_s, _interrupt)


def expected() -> bool:
    """Tell whether there will be a preemption."""
    return _expected


def watch(preempt: Callable[[], None]) -> None:
    """Have `preempt()` called, in any thread, when it comes."""
    global _preempt
    _preempt = preempt


def _interrupt() -> None:
    try:
        os.write(2, b"afield: this container is taken away, as simulate_preemption() asked for\n")
    except OSError:
        pass  # user code closed it
    _start_timer(GRACE_S, _kill)
    _preempt()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _start_timer(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.name = "afield-preemption"
    timer.daemon = True
    timer.start()
