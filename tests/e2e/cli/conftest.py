"""The command `afield`, run as a user would run it, in homes of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afield import _launch
from support.launching import assert_nothing_left, wait_for

PROGRAMS = Path(__file__).parent / "programs"

_SCRIPT = Path(sys.executable).with_name("afield")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-m", "afield.cli"]

Done = subprocess.CompletedProcess[str]
Process = subprocess.Popen[str]


class Cli:
    """The command in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        unset = re.compile(r"AFIELD_|XDG_|PYTHONPATH$")
        kept = {name: value for name, value in os.environ.items() if not unset.match(name)}
        self.env = {**kept, "AFIELD_HOME": str(home)}
        self.started: list[Process] = []

    def __call__(self, *arguments: str, check: int | None = 0, **options: Any) -> Done:
        """Run it to its end; `check` is the exit status to expect."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.env,
            cwd=PROGRAMS,
            text=True,
            capture_output=True,
            timeout=50,
            **options,
        )
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str, **options: Any) -> Process:
        """Start it; stdout and stderr come together on a pipe."""
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        process = subprocess.Popen([*COMMAND, *arguments], env=self.env, cwd=PROGRAMS, text=True, **settings)
        self.started.append(process)
        return process

    def records(self) -> list[dict[str, Any]]:
        """The records of the private platforms in this home."""
        folder = self.home / "state" / "private"
        names = os.listdir(folder) if folder.exists() else []
        records = (_launch.PlatformFolder(folder / name).record() for name in names)
        return [record for record in records if record is not None]

    def assert_clean(self, records: list[dict[str, Any]]) -> None:
        """Check that nothing is left of these platforms, nor of any private one."""
        for record in records:
            assert_nothing_left(record)
        folder = self.home / "state" / "private"
        wait_for(lambda: not folder.exists() or not os.listdir(folder), "the private folders to go")


def until(process: Process, text: str) -> str:
    """Read what a process says until a line has `text` in it; return that line."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return line
    raise AssertionError(f"ended with {process.wait()} before it said {text!r}:\n{''.join(said)}")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command, in a home where a platform runs."""
    cli = Cli(tmp_path_factory.mktemp("running"))
    cli("up", "--detach")
    yield cli
    cli("down")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cli]:
    """The command, in an empty home; whatever runs there is stopped at the end."""
    cli = Cli(tmp_path / "home")
    yield cli
    for process in cli.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    cli("down", "--force")
