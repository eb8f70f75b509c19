"""One running platform and one running app for all tests of calling."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
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
    sys.path.insert(0, str(PROGRAMS))
    module = importlib.import_module("fleet")
    with module.app.run():
        yield module
    sys.path.remove(str(PROGRAMS))
