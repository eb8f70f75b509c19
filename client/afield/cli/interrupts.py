"""What ends a foreground command early: signals, and a reader of its output that leaves (`| head`).

The first ends the command in order: it raises Terminated, a KeyboardInterrupt, in the main thread. Another one, half a
second later or more, ends it at once. (Sooner is no impatience: a terminal and a wrapper may both send the same Ctrl-C.)
Once the command cleans up (see `hold`), the first one only changes the exit status.
"""

import atexit
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

IMPATIENCE_S: Final = 0.5

_WORDS: Final = {
    signal.SIGINT: "Interrupted.",
    signal.SIGTERM: "Terminated.",
    signal.SIGHUP: "Hung up.",
    signal.SIGPIPE: "",  # whoever stopped reading knows
}


class Terminated(KeyboardInterrupt):
    """A signal came; handled like any Ctrl-C, but that it has an exit status of its own."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signal.Signals(signum)


class _State:
    """What has come so far."""

    first_at = 0.0
    """Monotonic time of the first signal; 0 before it."""
    signum = 0
    """The first signal."""
    raised = False
    """Whether it was raised, or given to `instead`."""
    meant: signal.Signals | None = None
    """What a SIGTERM that we sent to ourselves stands for."""
    instead: Callable[[], object] | None = None
    """Called at the first signal in place of raising."""
    held = False
    """Whether nothing is raised any more."""
    watching = False
    """Whether the loss of standard output's reader ends the command."""


def install() -> None:
    """Handle SIGINT, SIGTERM, SIGHUP, and the loss of standard output's reader, as told above. On the main thread."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup has its way
            signal.signal(signum, _handle)
    if sys.stdout is not None and _is_pipe(1):
        _State.watching = True
        threading.Thread(target=_watch_reader, name="afield-reader", daemon=True).start()


def hold() -> None:
    """Raise nothing from here on: what runs now is clean-up, which an interrupt must not cut short.

    A signal is noted, for `late`. One more, after another half second, still ends the process at once.
    """
    _State.held = True


@contextmanager
def before_clean_up() -> Iterator[None]:
    """Hold when the block ends, before anything around it begins to clean up."""
    try:
        yield
    finally:
        hold()


def late() -> Terminated | None:
    """Return what came and was not raised: a signal after `hold`, or the loss of standard output's reader."""
    if _State.watching and is_gone(1):
        return Terminated(signal.SIGPIPE)
    return Terminated(_State.signum) if _State.signum and not _State.raised else None


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as asyncio.run does; the first signal cancels it, and Terminated is raised then."""
    import asyncio  # half of what a command takes to start

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        # Raised in the middle of the event loop, an interrupt could hit anything.
        _State.instead = lambda: loop.call_soon_threadsafe(task.cancel)
        return await main

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if _State.signum:
            raise Terminated(_State.signum) from None
        raise
    finally:
        _State.instead = None


def leave(status: int) -> NoReturn:
    """End the process after an interrupt, when all else is done.

    Not by way of the interpreter's own end: it gives signals their deadly default back, and one more would change the
    exit status.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:  # its reader has gone
            continue
    os._exit(status)


def end(meaning: signal.Signals = signal.SIGTERM) -> None:
    """End the command in order, as if the signal `meaning` had come. From any thread."""
    if _State.held:
        # No signal: the interpreter may be about to give it back its deadly default.
        _State.signum = _State.signum or meaning
        return
    _State.meant = meaning
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


def _handle(signum: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if _State.first_at:
        if now - _State.first_at >= IMPATIENCE_S:
            _leave_now(signum)
        return
    _State.first_at, _State.signum = now, _State.meant or signum
    if _State.held:
        return
    _State.raised = True
    if _State.instead is None:
        raise Terminated(_State.signum)
    _State.instead()


def _leave_now(signum: int) -> NoReturn:
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
