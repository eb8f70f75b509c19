"""The services' process that is started before the supervisor knows where they belong."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from afield_platform.early import Early
from support.launching import each_of

_START_AND_WAIT = """
import os, sys, time
from afield_platform.early import Early
print(Early.start().pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[Early]:
    """One that was started here."""
    monkeypatch.setenv("AFIELD_TOKEN", "client:secret")
    started = Early.start()
    yield started
    process = psutil.Process(started.pid)
    for child in (*process.children(recursive=True), process):
        child.kill()
    os.waitpid(started.pid, 0)
    os.close(started.output)
    os.close(started.ready)


def _read_all(fd: int) -> str:
    said = b""
    while data := os.read(fd, 65536):
        said += data
    return said.decode()


def test_it_ends_when_nobody_has_a_word_for_it(early: Early) -> None:
    """The end of the pipe without orders, as of a supervisor that failed, is a quiet end with everything below it."""
    os.close(early.orders)

    assert _read_all(early.output) == ""  # nobody has it open any more
    ended = os.waitid(os.P_PID, early.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_pid == early.pid


def test_it_ends_with_its_parent() -> None:
    """A kill -9 of the process that started it takes it along."""
    with subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    psutil.wait_procs([process], timeout=10)
    assert not process.is_running()


def test_it_gets_no_descriptor_and_no_token(early: Early, tmp_path: Path) -> None:
    """The supervisor's lock and pipes are not open in it, nor is the caller's token in its environment."""
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    other = Early.start()
    try:
        process = psutil.Process(other.pid)
        links = each_of(f"/proc/{other.pid}/fd", os.readlink)

        assert links
        assert str(tmp_path / "lock") not in links
        assert "AFIELD_TOKEN" not in process.environ()
        assert os.getsid(other.pid) == other.pid
    finally:
        os.close(lock)
        os.kill(other.pid, signal.SIGKILL)
        os.waitpid(other.pid, 0)
        for fd in (other.output, other.ready, other.orders):
            os.close(fd)


def test_orders_are_its_command_line_and_environment(early: Early, tmp_path: Path) -> None:
    """What it is told counts as if it had been started with it: settings that make no sense end it with the reason."""
    secrets = tmp_path / "secrets.json"
    roles = ("registry", "scheduler", "worker", "gateway")
    secrets.write_text(json.dumps(dict.fromkeys((*roles, "guest", "http"), "x")))
    argv = ["python", "-m", "afield_platform.serve", "--secrets", str(secrets), *roles]

    early.go(argv, {**os.environ, "AFIELD_SHARDS": "none"})

    assert "AFIELD_SHARDS: expected a whole number, got 'none'" in _read_all(early.output)


def test_orders_to_one_that_has_ended_are_no_error(early: Early) -> None:
    """Its end is noticed where all ends are."""
    for child in psutil.Process(early.pid).children():
        child.kill()
    os.kill(early.pid, signal.SIGKILL)
    _read_all(early.output)

    early.go(["python", "-m", "afield_platform.serve", "registry"], {})


def test_a_failed_start_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes out, and all pipes are closed again."""
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(FileNotFoundError):
        Early.start()

    assert set(os.listdir("/proc/self/fd")) <= before  # what others left behind may have been collected
