"""Which results travel together."""

import threading
from typing import Any

import pytest

from afield._guest import reports
from afield._guest.reports import FLUSH_AFTER, FLUSH_BYTES, Reports
from afield._wire.guest import Results
from afield._wire.messages import InputResult


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module under test."""
    clock = Clock()
    monkeypatch.setattr(reports, "time", clock)
    return clock


@pytest.fixture
def sent() -> list[Any]:
    """The frames sent."""
    return []


def ok(index: int, size: int = 1) -> InputResult:
    return InputResult(index=index, status="ok", value=b"x" * size)


def test_quick_results_wait_for_the_end_of_the_pack(clock: Clock, sent: list[Any]) -> None:
    """One frame for all."""
    collected = Reports(sent.append)
    for index in range(10):
        collected.begin(token=3)
        clock.now += FLUSH_AFTER / 20
        collected.add(ok(index))
    assert sent == []

    collected.flush()

    assert sent == [Results(token=3, results=tuple(map(ok, range(10))))]


def test_results_are_sent_before_the_next_input_once_they_are_late(clock: Clock, sent: list[Any]) -> None:
    """Late counts from the start of the first input that is not reported, so the worker knows what runs."""
    collected = Reports(sent.append)
    collected.begin(token=3)
    clock.now += FLUSH_AFTER * 2
    collected.add(ok(0))

    began = collected.begin(token=3)

    assert sent == [Results(token=3, results=(ok(0),))]
    assert began == clock.now


def test_large_results_do_not_pile_up(clock: Clock, sent: list[Any]) -> None:
    """Frames are bounded."""
    collected = Reports(sent.append)
    for index in range(10):
        collected.begin(token=3)
        collected.add(ok(index, FLUSH_BYTES // 4))

    assert [len(frame.results) for frame in sent] == [5, 5]


def test_there_is_no_empty_frame(sent: list[Any]) -> None:
    """Flushing nothing sends nothing."""
    Reports(sent.append).flush()

    assert sent == []


def test_another_thread_may_send_what_there_is() -> None:
    """Each result is sent once, whoever sends it."""
    sent: list[Any] = []
    collected = Reports(sent.append)
    collected.begin(token=3)
    done = threading.Event()

    def flush() -> None:
        while not done.is_set():
            collected.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    for index in range(20_000):
        collected.add(ok(index))
    collected.flush()
    done.set()
    thread.join()

    assert sorted(result.index for frame in sent for result in frame.results) == list(range(20_000))
