"""What ends a command early."""

import os
import signal
import subprocess
import sys
import traceback

import pytest

from afield.cli import interrupts
from afield.cli.interrupts import Terminated


@pytest.mark.parametrize(
    ("interrupt", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (Terminated(signal.SIGTERM), 143, "Terminated."),
        (Terminated(signal.SIGHUP), 129, "Hung up."),
        (Terminated(signal.SIGPIPE), 141, ""),
    ],
)
def test_status_and_words(interrupt: KeyboardInterrupt, status: int, words: str) -> None:
    """The exit status is 128 and the signal's number, as a shell has it."""
    assert interrupts.status(interrupt) == status
    assert interrupts.words(interrupt) == words


def test_a_pipe_without_a_reader() -> None:
    """A pipe whose reader has left is told from one that is read."""
    reader, writer = os.pipe()
    assert not interrupts.is_gone(writer)
    os.close(reader)
    assert interrupts.is_gone(writer)
    os.close(writer)


NAPS = """
import time
nap = time.sleep

def sleep(seconds):
    # Python sleeps through a signal that comes in the very moment before it begins to.
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        nap(min(left, 0.01))

time.sleep = sleep
"""
WAITING = """
import signal, time
from afield.cli import interrupts
interrupts.listen()
interrupts.watch_reader()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as interrupt:
    raise SystemExit(interrupts.status(interrupt))
"""


def started(program: str = WAITING, stdin: int | None = None) -> "subprocess.Popen[str]":
    """A program that says when it waits, with the signals installed."""
    process = subprocess.Popen(
        [sys.executable, "-c", NAPS + program], stdin=stdin, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(program: str) -> "subprocess.CompletedProcess[str]":
    """A program that has come to its end by itself."""
    return subprocess.run(
        [sys.executable, "-c", NAPS + program], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt(signum: signal.Signals) -> None:
    """Each of the signals ends a wait."""
    with started() as process:
        process.send_signal(signum)
        assert process.wait(20) == 128 + signum


def test_the_loss_of_the_reader_interrupts() -> None:
    """When nobody reads standard output any more, the wait ends without any write."""
    with started() as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 141


DROPPED = """
import os, signal, time, weakref
from afield.cli import interrupts
interrupts.listen()
interrupts.watch_reader()

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGHUP)

class Deaf:
    times = 5

    def __del__(self):
        if Deaf.times:
            Deaf.times -= 1
            interrupt()

end = None
try:
%s
except KeyboardInterrupt as raised:
    end = raised
interrupts.hold()
end = end or interrupts.late()
raise SystemExit(interrupts.status(end) if end else 0)
"""
PLACES = {
    "finalizers": "    while True: Deaf(); time.sleep(0.001)",
    "a weak reference": "    it = Deaf(); Deaf.times = 0; gone = weakref.ref(it, interrupt); del it; time.sleep(60)",
    "the last moment": "    Deaf.times = 1; Deaf()",
}


@pytest.mark.parametrize("place", PLACES)
def test_what_python_drops_is_not_lost(place: str) -> None:
    """An interrupt that hits a callback of Python's is dropped, and comes again until it hits something else."""
    done = ended(DROPPED % PLACES[place])

    assert (done.returncode, done.stderr) == (129, "")


def test_what_else_python_drops_is_told() -> None:
    """As without us."""
    done = ended(
        "from afield.cli import interrupts\ninterrupts.listen()\nclass A:\n  def __del__(self): 1 / 0\nA()"
    )

    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr


STUBBORN = """
import time
from afield.cli import interrupts
interrupts.listen()
interrupts.watch_reader()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stays", flush=True)
    time.sleep(60)
"""


def test_a_second_signal_does_not_wait() -> None:
    """A repeated signal is one and the same; one that comes later ends the process, whatever it is doing."""
    with started(STUBBORN) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stays\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(interrupts.IMPATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


SKIPPING = """
import time
from afield.cli import interrupts
interrupts.listen()
ready = "ready"
try:
    while True:
        try:
            print(ready, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            ready = "skipped"
finally:
    print("cleaned up", flush=True)
"""


def test_a_program_that_goes_on_gets_the_next_one() -> None:
    """It has answered the first; so it is asked again, however much later, and not killed."""
    with started(SKIPPING) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "skipped\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(interrupts.IMPATIENCE_S)
        process.kill()


BLOCKING = """
import asyncio, time
from afield.cli import interrupts
interrupts.listen()

async def main():
    cancel = interrupts._State.instead
    interrupts._State.instead = lambda: (cancel(), print("asked", flush=True))
    print("ready", flush=True)
    try:
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

try:
    interrupts.run_async(main())
except KeyboardInterrupt as interrupt:
    raise SystemExit(interrupts.status(interrupt))
"""


def test_a_coroutine_that_blocks_the_loop() -> None:
    """It cannot be cancelled, so it is interrupted by the second signal; what it cleans up is cleaned up."""
    with started(BLOCKING) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "asked\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(interrupts.IMPATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "cleaned up\n"
        assert process.wait(20) == 130


FORKING = """
import multiprocessing, time
from afield.cli import interrupts
interrupts.listen()
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
child.start()
child.terminate()
child.join()
print(child.exitcode)
"""


def test_forked_children_are_none_of_the_commands() -> None:
    """A signal does to them what it would do without us."""
    done = ended(FORKING)

    assert (done.returncode, done.stdout, done.stderr) == (0, "-15\n", "")


def test_in_a_traceback_it_is_a_keyboard_interrupt() -> None:
    """That is what people know."""
    assert traceback.format_exception_only(Terminated(signal.SIGTERM)) == ["KeyboardInterrupt\n"]


ASYNC = """
import asyncio
from afield.cli import interrupts
interrupts.listen()
interrupts.watch_reader()

async def main():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

try:
    interrupts.run_async(main())
except KeyboardInterrupt as interrupt:
    raise SystemExit(interrupts.status(interrupt))
"""


def test_coroutines_are_cancelled() -> None:
    """The first signal cancels a coroutine, which can clean up asynchronously; the exit status is the signal's."""
    with started(ASYNC) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "cleaned up\n"
        assert process.wait(20) == 143


HELD = """
import sys
from afield.cli import interrupts
interrupts.listen()
interrupts.watch_reader()
with interrupts.before_clean_up():
    pass
print("ready", flush=True)
sys.stdin.read()
late = interrupts.late()
raise SystemExit(interrupts.status(late) if late else 0)
"""


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 0)]
)
def test_clean_up_is_not_interrupted(signum: signal.Signals | None, status: int) -> None:
    """Once the command cleans up, a signal changes the exit status alone."""
    with started(HELD, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if signum is not None:
            process.send_signal(signum)
        process.stdin.close()
        assert process.wait(20) == status


def test_a_reader_lost_in_the_clean_up() -> None:
    """So does a reader that leaves."""
    with started(HELD, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait(20) == 141
