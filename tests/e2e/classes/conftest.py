"""One private platform and one running app for all tests of classes."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from afield import embedded

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Platform]:
    """A private platform of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFIELD_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("AFIELD_SERVER", "AFIELD_TOKEN"):
            patch.delenv(name, raising=False)
        with embedded.acquire() as held:
            yield held


@pytest.fixture(scope="session")
def zoo(platform: embedded.Platform) -> Iterator[ModuleType]:
    """The module `zoo`, with its app running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROGRAMS))
        module = importlib.import_module("zoo")
        with module.app.run():
            yield module
