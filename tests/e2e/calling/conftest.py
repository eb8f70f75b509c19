"""One running platform and one running app for all tests of calling."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def platform_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running platform with a home of its own; the environment points to it."""
    home = tmp_path_factory.mktemp("afield-home")
    before = os.environ.get("AFIELD_HOME")
    os.environ["AFIELD_HOME"] = str(home)
    command = [sys.executable, "-m", "afield.cli"]
    subprocess.run([*command, "up", "--detach"], check=True, timeout=60)
    yield home
    subprocess.run([*command, "down"], check=True, timeout=60)
    if before is None:
        del os.environ["AFIELD_HOME"]
    else:
        os.environ["AFIELD_HOME"] = before


@pytest.fixture(scope="session")
def fleet(platform_home: Path) -> Iterator[ModuleType]:
    """The module `fleet`, with its app running."""
    with _running("fleet") as module:
        yield module


@pytest.fixture(scope="module")
def hasty(platform_home: Path) -> Iterator[ModuleType]:
    """The module `hasty`, with its app running."""
    with _running("hasty") as module:
        yield module


@contextmanager
def _running(name: str) -> Iterator[ModuleType]:
    """A program of this folder, with its app running for the block."""
    sys.path.insert(0, str(PROGRAMS))
    module = importlib.import_module(name)
    with module.app.run():
        yield module
    sys.path.remove(str(PROGRAMS))
