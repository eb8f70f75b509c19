"""Containers come, go, and leave nothing behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil

import afield


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until a condition of the outside world holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_killed_container_is_replaced_unnoticed(fleet: ModuleType, tmp_path: Path) -> None:
    """kill -9 of a container in the middle of a call: the caller just gets its result."""
    call = fleet.pid_once_then_nap.spawn(str(tmp_path / "pid"), 0.5)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    assert call.get(timeout=30) == 2


def test_idle_container_leaves(fleet: ModuleType) -> None:
    """After its scaledown window an idle container is gone."""
    pid = fleet.pid_with_short_window.remote()
    assert psutil.pid_exists(pid)

    wait_until(lambda: not psutil.pid_exists(pid))


def test_daemons_of_user_code_are_cleaned_up(fleet: ModuleType) -> None:
    """A process that user code detached dies with the container."""
    pid = fleet.leave_daemon_behind.remote("mark")
    assert psutil.pid_exists(pid)

    wait_until(lambda: not psutil.pid_exists(pid))


def test_more_functions_than_places(fleet: ModuleType) -> None:
    """Idle containers of other functions make room: nobody waits for their scaledown window (a minute each)."""
    app = afield.App("many")

    def give(x: int) -> int:
        return x

    functions = [app.function(name=f"give-{n}", serialized=True, cpu=0.5)(give) for n in range(12)]
    with app.run():
        assert [f.remote(n) for n, f in enumerate(functions)] == list(range(12))
