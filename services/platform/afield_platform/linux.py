"""Attributes of processes that the standard library has no call for."""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_TIMERSLACK: Final = 29
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this process the parent of orphans among its descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_timer_slack(seconds: float) -> None:
    """Let timers of this thread, and of all threads and processes that it will start, be late by so much."""
    _prctl(_PR_SET_TIMERSLACK, int(seconds * 1e9))


def die_with_parent() -> Callable[[], None]:
    """Return what a child calls between fork and exec to be killed when this thread ends, however that happens."""
    parent = os.getpid()

    def after_fork() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended before the request was made

    return after_fork


def end_with_parent() -> None:
    """Be killed when the thread that started this process ends. The caller looks whether it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")
