"""What becomes of an app when the process that runs it is killed, or paused for too long."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import afield
from afield.exception import CallCancelledError, NotFoundError
from support.launching import wait_for

from .conftest import PROGRAMS

BEAT_S = 0.5
"""Seconds between heartbeats on the platform of these tests; an app is stopped when three are missed."""


@pytest.fixture(scope="module")
def quick_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running platform that loses patience quickly; the environment points to it."""
    home = tmp_path_factory.mktemp("quick-home")
    command = [sys.executable, "-m", "afield.cli"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFIELD_HOME", str(home))
        patch.setenv("AFIELD_HEARTBEAT_S", str(BEAT_S))
        subprocess.run([*command, "up", "--detach"], check=True, timeout=60)
        yield home
        subprocess.run([*command, "down", "--force"], check=True, timeout=60)


class Lonely:
    """The program `lonely`, whose only function has begun."""

    def __init__(self, mode: str, folder: Path) -> None:
        command = [sys.executable, str(PROGRAMS / "lonely.py"), mode, str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.app_id, self.call_id = self.says().split()
        wait_for(lambda: (folder / "begun").exists(), "the call to begin")

    def says(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(quick_home: Path, tmp_path: Path) -> Iterator[Callable[[str], Lonely]]:
    """Start the program; it is killed at the end."""
    started: list[Lonely] = []

    def begin(mode: str) -> Lonely:
        started.append(Lonely(mode, tmp_path))
        return started[-1]

    yield begin
    for each in started:
        each.end()


def runs(app_name: str) -> bool:
    """Tell whether an app runs."""
    try:
        afield.App.lookup(app_name)
    except NotFoundError:
        return False
    return True


def test_app_ends_with_its_client(start: Callable[[str], Lonely], tmp_path: Path) -> None:
    """A client that was killed says nothing, and is missed: its app is stopped, its calls end as cancelled."""
    client = start("attached")
    assert runs("lonely-attached")
    client.end()

    wait_for(lambda: not runs("lonely-attached"), "the app to be stopped")
    with pytest.raises(CallCancelledError, match="heartbeat"):
        afield.FunctionCall.from_id(client.call_id).get(timeout=30)
    assert not (tmp_path / "done").exists()


def test_detached_app_outlives_its_client(start: Callable[[str], Lonely], tmp_path: Path) -> None:
    """What was spawned is finished, and its result can be fetched from elsewhere."""
    client = start("detached")
    client.end()

    assert afield.FunctionCall.from_id(client.call_id).get(timeout=30) == "done"
    assert (tmp_path / "done").exists()
    assert runs("lonely-detached")
    subprocess.run([sys.executable, "-m", "afield.cli", "app", "stop", client.app_id], check=True, timeout=60)


def test_client_that_was_paused_is_told(start: Callable[[str], Lonely]) -> None:
    """Its app is gone when it goes on: what it waits for ends in an error that says so, and so does its next call."""
    client = start("attached")
    os.kill(client.process.pid, signal.SIGSTOP)
    wait_for(lambda: not runs("lonely-attached"), "the app to be stopped")
    os.kill(client.process.pid, signal.SIGCONT)

    assert "CallCancelledError" in (said := client.says())
    assert "heartbeat" in said
    assert "heartbeat" in client.says()
    assert client.process.wait(30) == 0


def test_interrupted_script_takes_its_app_along(start: Callable[[str], Lonely]) -> None:
    """Ctrl-C leaves the block of `app.run()`: nothing goes on."""
    client = start("attached")
    client.process.send_signal(signal.SIGINT)

    assert client.process.wait(30) == -signal.SIGINT
    assert not runs("lonely-attached")
    with pytest.raises(CallCancelledError, match="its client has ended the run"):
        afield.FunctionCall.from_id(client.call_id).get(timeout=30)
