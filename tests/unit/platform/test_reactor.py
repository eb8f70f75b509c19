"""The reactor: descriptors, timers, signals."""

import os
import signal
from collections.abc import Iterator

import pytest

from afield_platform.reactor import Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """A reactor, closed at the end."""
    made = Reactor()
    yield made
    made.close()


def test_timers_fire_in_order(reactor: Reactor) -> None:
    """Timers fire by their time, not by their making; a cancelled one does not."""
    fired: list[str] = []
    reactor.call_later(0.02, lambda: fired.append("late"))
    reactor.call_later(0.01, lambda: fired.append("cancelled")).cancel()
    reactor.call_later(0, lambda: fired.append("soon"))
    reactor.run(lambda: len(fired) == 2)
    assert fired == ["soon", "late"]


def test_descriptors_are_read(reactor: Reactor) -> None:
    """What arrives on a pipe is announced, and so is its end."""
    reader, writer = os.pipe()
    got: list[bytes] = []
    reactor.on_readable(reader, lambda: got.append(os.read(reader, 10)))
    os.write(writer, b"x")
    reactor.run(lambda: len(got) == 1)
    os.close(writer)
    reactor.run(lambda: len(got) == 2)
    assert got == [b"x", b""]
    reactor.forget(reader)


def test_a_callback_may_forget_another_descriptor(reactor: Reactor) -> None:
    """A descriptor forgotten by one callback is not announced in the same round."""
    pipes = [os.pipe(), os.pipe()]
    called: list[int] = []

    def take(index: int) -> None:
        called.append(index)
        for reader, _ in pipes:
            reactor.forget(reader)

    for index, (reader, writer) in enumerate(pipes):
        reactor.on_readable(reader, lambda index=index: take(index))  # type: ignore[misc]
        os.write(writer, b"x")
    reactor.run(lambda: bool(called))
    assert len(called) == 1
    for _, writer in pipes:
        os.close(writer)


def test_signals_wake_it(reactor: Reactor) -> None:
    """A signal is delivered between two waits; the old handler is back after the end."""
    before = signal.getsignal(signal.SIGUSR2)
    seen: list[int] = []
    reactor.on_signal(signal.SIGUSR2, lambda: seen.append(1))
    os.kill(os.getpid(), signal.SIGUSR2)
    reactor.run(lambda: bool(seen))
    assert seen == [1]
    assert before == signal.SIG_DFL
