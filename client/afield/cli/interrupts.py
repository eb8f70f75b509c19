"""Signals of a foreground command: the first ends it in order, the second at once."""

import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

from afield.cli.errors import EXIT_INTERRUPTED

_NAMES: Final = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated", signal.SIGHUP: "Hung up"}


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; handled like a Ctrl-C everywhere, but for the exit status."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def install() -> None:
    """Make SIGTERM and SIGHUP raise Terminated in the main thread. SIGINT raises KeyboardInterrupt already."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        # nohup has its way
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _terminate)


def force_next() -> None:
    """Call when the first signal is being obeyed: from now on, a signal ends the process without waiting."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _leave_now)


def status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status for an interrupt: 128 and the signal's number."""
    return 128 + interrupt.signum if isinstance(interrupt, Terminated) else EXIT_INTERRUPTED


def words(interrupt: KeyboardInterrupt) -> str:
    """Return what to tell the user."""
    signum = interrupt.signum if isinstance(interrupt, Terminated) else signal.SIGINT
    return _NAMES[signal.Signals(signum)]


def _terminate(signum: int, _: FrameType | None) -> NoReturn:
    raise Terminated(signum)


def _leave_now(signum: int, _: FrameType | None) -> NoReturn:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"Left without waiting.\n")
    # A private platform notices that its owner is gone, and removes itself.
    os._exit(128 + signum)
