"""Processor time from schedstat files."""

import os
import threading
import time
from pathlib import Path

import pytest

from benchmarks import processor

WORK_NS = 20_000_000


def test_the_first_number_is_the_time_on_a_processor() -> None:
    """Behind it stand the time in the queue, and how often it was put on."""
    assert processor.parse_schedstat("1234567 89 10\n") == 1234567


@pytest.mark.parametrize("text", ["", "12 3", "1 2 x", "1 2 3 4"])
def test_other_files_are_refused(text: str) -> None:
    """A kernel that counts something else must not yield figures."""
    with pytest.raises(ValueError, match="three numbers"):
        processor.parse_schedstat(text)


def test_time_is_counted_thread_by_thread() -> None:
    """New threads and processes count whole, those that ended not at all: nothing becomes less than nothing."""
    before = {1: {10: 100, 11: 5_000}, 2: {20: 7}}
    after = {1: {10: 150, 12: 30}, 3: {30: 9}}

    assert processor.spent(before, after) == {1: 80, 3: 9}


def test_what_this_process_runs_is_seen() -> None:
    """In all its threads, new ones among them."""
    worked, stop = threading.Event(), threading.Event()

    def work() -> None:
        while time.thread_time_ns() < WORK_NS:
            pass
        worked.set()
        stop.wait(30)

    before = processor.snapshot([os.getpid()])
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert worked.wait(30)
        after = processor.snapshot([os.getpid()])
    finally:
        stop.set()
        thread.join()

    assert processor.spent(before, after)[os.getpid()] >= WORK_NS


def test_a_process_that_has_ended_has_no_threads(tmp_path: Path) -> None:
    """It may end between two looks."""
    assert processor.threads(42, proc=tmp_path) == {}


def test_a_kernel_without_the_account_is_named(tmp_path: Path) -> None:
    """The error says what is missing."""
    (tmp_path / "42/task/43").mkdir(parents=True)

    with pytest.raises(RuntimeError, match="CONFIG_SCHED_INFO"):
        processor.threads(42, proc=tmp_path)
