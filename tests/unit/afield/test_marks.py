"""Processes found by mark and by descent."""

import os
import subprocess
import sys

import pytest

from afield import _marks

WAIT = "import time; print(flush=True); time.sleep(600)"
NESTED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAIT!r}])"


def started(code: str, mark: str) -> "subprocess.Popen[bytes]":
    """A marked process that has said that it runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={_marks.MARK: mark}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_mark_is_inherited() -> None:
    """Children carry the mark of their parent; the mark must match as a whole."""
    with started(NESTED, "mark-1") as process:
        assert len(_marks.marked("mark-1")) == 2
        assert process.pid in _marks.marked("mark-1")
        assert _marks.marked("mark-") == set()
        assert len(_marks.kill_all(lambda: _marks.marked("mark-1"))) == 2


def test_descendants() -> None:
    """Children and their children are descendants; the root is not, and neither is a zombie."""
    with started(NESTED, "mark-2") as process:
        below = _marks.descendants(os.getpid())
        assert process.pid in below
        (child,) = _marks.descendants(process.pid)
        assert child in below
        os.kill(child, 9)
        process.wait()
        assert process.pid not in _marks.descendants(os.getpid())


def test_survivors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When something does not die in time, the error names it."""
    with started(WAIT, "mark-4") as process:
        monkeypatch.setattr(_marks, "kill", lambda _pid, _signum: False)
        with pytest.raises(TimeoutError, match=rf"\[{process.pid}\] did not end"):
            _marks.kill_all(lambda: [process.pid], within=0.1)
        process.kill()


def test_waiting_for_an_exit() -> None:
    """The end of any process can be waited for; one that is gone has ended."""
    with started(WAIT, "mark-3") as process:
        assert not _marks.wait_exit(process.pid, 0.01)
        process.kill()
        assert _marks.wait_exit(process.pid, 5)
    assert _marks.wait_exit(process.pid, 0)
    assert not _marks.kill(process.pid, 0)
