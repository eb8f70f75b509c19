"""What ends a command early."""

import os
import signal
import subprocess
import sys

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


WAITING = """
import signal, time
from afield.cli import interrupts
interrupts.install()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as interrupt:
    raise SystemExit(interrupts.status(interrupt))
"""


def started() -> "subprocess.Popen[str]":
    """A program that waits, with the signals installed."""
    process = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


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


STUBBORN = """
import time
from afield.cli import interrupts
interrupts.install()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stays", flush=True)
    time.sleep(60)
"""


def test_a_second_signal_does_not_wait() -> None:
    """A repeated signal is one and the same; one that comes later ends the process, whatever it is doing."""
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stays\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(interrupts.IMPATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


ASYNC = """
import asyncio
from afield.cli import interrupts
interrupts.install()

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
    with subprocess.Popen([sys.executable, "-c", ASYNC], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "cleaned up\n"
        assert process.wait(20) == 143


HELD = """
import sys
from afield.cli import interrupts
interrupts.install()
with interrupts.before_clean_up():
    pass
print("cleaning up", flush=True)
sys.stdin.read()
late = interrupts.late()
raise SystemExit(interrupts.status(late) if late else 0)
"""


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 0)]
)
def test_clean_up_is_not_interrupted(signum: signal.Signals | None, status: int) -> None:
    """Once the command cleans up, a signal changes the exit status alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        if signum is not None:
            process.send_signal(signum)
        process.stdin.close()
        assert process.wait(20) == status


def test_a_reader_lost_in_the_clean_up() -> None:
    """So does a reader that leaves."""
    process = subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
        assert process.wait(20) == 141
