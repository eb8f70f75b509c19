"""What ends a foreground command early: signals, and a reader of its output that leaves (`| head`).

The first ends the command in order, the second at once.
"""

import os
import select
import signal
import stat
import sys
import threading
from types import FrameType
from typing import Final, NoReturn

_WORDS: Final = {
    signal.SIGINT: "Interrupted.",
    signal.SIGTERM: "Terminated.",
    signal.SIGHUP: "Hung up.",
    signal.SIGPIPE: "",  # whoever stopped reading knows
}

_meant: signal.Signals | None = None
"""What a SIGTERM that we sent to ourselves stands for."""


class Terminated(KeyboardInterrupt):
    """A signal came; handled like a Ctrl-C everywhere, as event loops let it through, but for the exit status."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signal.Signals(signum)


def install() -> None:
    """Make SIGTERM, SIGHUP and the loss of standard output's reader raise Terminated in the main thread.

    SIGINT raises KeyboardInterrupt already.
    """
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup has its way
            signal.signal(signum, _terminate)
    if sys.stdout is not None and _is_pipe(1):
        threading.Thread(target=_watch_reader, name="afield-reader", daemon=True).start()


def force_next() -> None:
    """Call when the first signal is being obeyed: from now on, a signal ends the process without waiting."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _leave_now)


def end(meaning: signal.Signals = signal.SIGTERM) -> None:
    """Make the main thread raise Terminated, as if the signal `meaning` had come. From any thread."""
    global _meant
    _meant = meaning
    os.kill(os.getpid(), signal.SIGTERM)


def status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status for an interrupt: 128 and the signal's number."""
    return 128 + _signal(interrupt)


def words(interrupt: KeyboardInterrupt) -> str:
    """Return what to tell the user."""
    return _WORDS[_signal(interrupt)]


def is_gone(stream_fd: int) -> bool:
    """Tell whether nobody reads a pipe any more."""
    waiter = select.poll()
    waiter.register(stream_fd, 0)
    return any(events & select.POLLERR for _, events in waiter.poll(0))


def _signal(interrupt: KeyboardInterrupt) -> signal.Signals:
    return interrupt.signum if isinstance(interrupt, Terminated) else signal.SIGINT


def _terminate(signum: int, _: FrameType | None) -> NoReturn:
    raise Terminated(_meant or signum)


def _leave_now(signum: int, _: FrameType | None) -> NoReturn:
    os.write(2, b"Left without waiting.\n")
    # A private platform notices that its owner is gone, and removes itself.
    os._exit(128 + signum)


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _watch_reader() -> None:
    """Wait until the reader closes its end. SIGPIPE itself would also come for sockets, which are none of our business."""
    waiter = select.poll()
    waiter.register(1, 0)
    if any(events & select.POLLERR for _, events in waiter.poll()):
        end(signal.SIGPIPE)
