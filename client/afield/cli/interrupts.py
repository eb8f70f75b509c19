"""What ends a foreground command early: signals, and a reader of its output that leaves (`| head`).

The first ends the command in order: it raises Terminated, a KeyboardInterrupt, in the main thread. Another one, half a
second later or more, ends it at once. (Sooner is no impatience: a terminal and a wrapper may both send the same Ctrl-C.)
A program that catches the first one and goes on gets the next one as if it were the first. Once the command cleans up (see
`hold`), the first one only changes the exit status.

Python drops what is raised in a callback of its own, such as `__del__` or the end of a weak reference, of which imports
have many. An interrupt that got lost there is raised once more, shortly after.
"""

import atexit
import os
import select
import signal
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

IMPATIENCE_S: Final = 0.5
AGAIN_S: Final = 0.01
"""Seconds after which a lost interrupt is raised again: by then, the callback that it hit has ended."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


# What a traceback calls it: users know no other.
Terminated.__module__, Terminated.__qualname__ = "builtins", "KeyboardInterrupt"


class _State:
    """What has come so far."""

    first_at = 0.0
    """Monotonic time of the first signal; 0 before it."""
    signum = 0
    """The first signal."""
    number = 0
    """How the first signal came: SIGTERM, where it stands for something else."""
    interrupt: "weakref.ref[Terminated] | None" = None
    """What was raised for it, as long as nobody has caught it and gone on."""
    raised = False
    """Whether it was raised, or given to `instead`, and has not got lost."""
    lost = False
    """Whether it got lost, and is to be raised again."""
    again = False
    """Whether the next signal is the one that raises it again."""
    dropping = False
    """Whether it is being noted that it got lost: what is raised meanwhile is dropped as well."""
    meant: signal.Signals | None = None
    """What a SIGTERM that we sent to ourselves stands for."""
    instead: Callable[[], object] | None = None
    """Called at the first signal in place of raising."""
    held = False
    """Whether nothing is raised any more."""
    noted = False
    """Whether a signal came since then."""
    watching = False
    """Whether the loss of standard output's reader ends the command."""


def listen() -> None:
    """Handle SIGINT, SIGTERM and SIGHUP as told above. On the main thread, once in a process."""
    sys.unraisablehook = partial(_on_dropped, sys.unraisablehook)
    for signum in _SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup has its way
            signal.signal(signum, _handle)
    os.register_at_fork(before=_before_fork, after_in_parent=_let_signals_in, after_in_child=_be_as_others)


_blocked = threading.local()
"""`mask`: the signals that were blocked in this thread before it began to fork."""


def _before_fork() -> None:
    # Python forgets what comes to a child before it knows that it is one.
    _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.mask)


def _be_as_others() -> None:
    """A forked child, as multiprocessing makes them, is none of this command's."""
    for signum in _SIGNALS:
        if signal.getsignal(signum) is _handle:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    _let_signals_in()


def watch_reader() -> None:
    """Handle the loss of standard output's reader as well, where that is a pipe."""
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
            raise _new_interrupt() from None
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


def inside(error: BaseException) -> Terminated | None:
    """Return the interrupt in an error that is nothing else.

    Python 3.11 makes one of whatever is raised while a class tells its attributes their names.
    """
    cause = error.__cause__
    made_by_python = type(error) is RuntimeError and str(error).startswith("Error calling __set_name__")
    return cause if made_by_python and isinstance(cause, Terminated) else None


def is_gone(stream_fd: int) -> bool:
    """Tell whether nobody reads a pipe any more."""
    waiter = select.poll()
    waiter.register(stream_fd, 0)
    return any(events & select.POLLERR for _, events in waiter.poll(0))


def _signal(interrupt: KeyboardInterrupt) -> signal.Signals:
    return interrupt.signum if isinstance(interrupt, Terminated) else signal.SIGINT


def _handle(signum: int, _: FrameType | None) -> None:
    if _State.dropping:
        return
    now = time.monotonic()
    again, _State.again = _State.again, False
    if again:
        if not _State.lost:
            return
        _State.lost = False
    elif _is_on_its_way():
        if now - _State.first_at >= IMPATIENCE_S:
            _insist(signum, now)
        return
    else:
        _State.first_at, _State.signum, _State.number = now, _State.meant or signum, signum
        _State.raised = False
    if _State.held:
        _State.noted = True
        return
    _State.raised = True
    if _State.instead is None:
        raise _new_interrupt()
    _State.instead()


def _is_on_its_way() -> bool:
    """Tell whether a signal came before, and ends the command: the program has not caught it to go on."""
    if _State.interrupt is not None and _State.interrupt() is not None:
        return True
    return _State.noted or _State.lost or (_State.instead is not None and _State.first_at > 0)


def _new_interrupt() -> Terminated:
    # A frame that is in the traceback must not have it as a variable: it would live on when it has been caught.
    made = Terminated(_State.signum)
    _State.interrupt = weakref.ref(made)
    return made


def _insist(signum: int, now: float) -> None:
    if _State.instead is None or _State.held:
        _leave_now(signum)
    # The loop does not turn, or its task does not end: interrupt whatever runs, as asyncio.run does.
    _State.instead, _State.first_at = None, now
    raise _new_interrupt()


def _on_dropped(told: "Callable[[sys.UnraisableHookArgs], object]", what: "sys.UnraisableHookArgs") -> None:
    if not isinstance(what.exc_value, Terminated):
        told(what)
        return
    _State.dropping, _State.raised, _State.lost = True, False, True
    try:
        # From a thread, and later: raised here and now, it would be dropped here.
        threading.Thread(target=_raise_again, name="afield-again", daemon=True).start()
    finally:
        _State.dropping = False


def _raise_again() -> None:
    time.sleep(AGAIN_S)
    while _State.lost and not _State.held:
        _State.again = True
        os.kill(os.getpid(), _State.number)
        time.sleep(AGAIN_S)


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
