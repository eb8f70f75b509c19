"""The example programs do what they say, each on a private platform of its own."""

import os
import runpy
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., str]


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Run Python with arguments from the root of the project, and return what it printed."""
    env = {**os.environ, "AFIELD_HOME": str(tmp_path / "home"), "COLUMNS": "160"}

    def run(*arguments: str) -> str:
        with (tmp_path / "stderr").open("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                said, _ = process.communicate(timeout=50)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                said = f"{process.communicate(timeout=20)[0]}\n(interrupted after 50 s)"
            errors.seek(0)
            assert process.returncode == 0, f"exit code {process.returncode}\n{said}\n{errors.read()}"
        return said

    return run


@pytest.fixture
def afield(python: Run) -> Run:
    """Run `afield run` with arguments."""
    return lambda *arguments: python("-m", "afield.cli", "run", *arguments)


def test_hello(afield: Run) -> None:
    """What the function prints and what it returns both arrive; it ran in another process."""
    said = afield("examples/hello.py", "--number", "12")

    assert "the square of 12 is 144" in said
    here = said.partition("this is process ")[2].split()[0]
    there = said.partition("squaring 12 in process ")[2].split()[0]
    assert here != there


def test_stdlib_census(afield: Run) -> None:
    """Every source file of the standard library is counted, and the table shows its largest packages."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [p for p in root.rglob("*.py") if not {"site-packages", "dist-packages"} & set(p.parts)]

    said = afield("examples/stdlib_census.py", "--top", "30")

    assert f"{len(files):,} files in" in said
    assert "asyncio" in said
    assert "The modules that most files import" in said


def test_generator(afield: Run) -> None:
    """The picture that arrives row by row is the one that the function draws here."""
    rows = runpy.run_path(str(ROOT / "examples/generator.py"))["rows"]

    said = afield("examples/generator.py", "--width", "40", "--height", "21", "--depth", "30")

    assert said.startswith("\n".join(rows.local(40, 21, 30)))


def test_nested(afield: Run) -> None:
    """A container maps over other containers: the number of primes is right."""
    assert "41,538 primes below 500,000" in afield("examples/nested.py", "--limit", "500000", "--parts", "7")


def test_errors(afield: Run) -> None:
    """Each kind of failure is told apart, and attributes and causes survive."""
    said = afield("examples/errors.py")

    assert "our own exception, with its attributes: 2 milk missing" in said
    assert "because of KeyError('coffee')" in said
    assert "'40 x tea ordered'" in said
    assert "sys.exit: ExecutionError" in said
    assert "os._exit: ContainerLostError" in said


def test_spawn(afield: Run) -> None:
    """Calls are gathered, found again by id, and cancelled."""
    said = afield("examples/spawn.py", "--zeros", "3")

    assert said.count("-> 000") == 3
    assert "again, by id:" in said
    assert "cancelled: CallCancelledError" in said


def test_class_counter(afield: Run) -> None:
    """Each language has a counter of its own, whose hooks run once; batches give each caller its own result."""
    said = afield("examples/class_counter.py")

    assert "words: 5 4" in said
    assert "English: [('the', 4), ('and', 2)]" in said
    assert "Latin: [('aqua', 1), ('sanitas', 1)]" in said
    assert said.count("ready in process") == 2
    assert "100 rolls, from 1 to 6" in said
    assert "lengths: 4950" in said


def test_async_script(python: Run) -> None:
    """A plain asyncio program runs its app without the command."""
    said = python("examples/async_script.py")

    assert "0.8 s of naps" in said
    assert said.count("slept 0.0") == 3
