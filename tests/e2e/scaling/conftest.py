"""One private platform and one running app for all tests of scaling."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from afield import embedded

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module `crowd`, with its app running on a private platform of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFIELD_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("AFIELD_SERVER", "AFIELD_TOKEN"):
            patch.delenv(name, raising=False)
        patch.syspath_prepend(str(PROGRAMS))
        with embedded.acquire():
            module = importlib.import_module("crowd")
            with module.app.run():
                yield module
