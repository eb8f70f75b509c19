"""A home of its own for each test, and platforms with stand-in services."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afield import _launch
from afield._launch import Launched
from support import launching

Launch = Callable[..., Launched]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty AFIELD_HOME."""
    for name in ("AFIELD_SERVER", "AFIELD_TOKEN", "AFIELD_FAKE", "AFIELD_NATS_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AFIELD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(launching.TESTS))
    monkeypatch.setattr(_launch, "supervisor_command", _launch.supervisor_command)
    launching.use_fake_services()
    return tmp_path / "home"


@pytest.fixture
def launch(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Start platforms; they are stopped when the test ends. `fake` is what the stand-in shall do."""
    started: list[Launched] = []

    def start(*arguments: str, fake: str = "", shared: bool = False) -> Launched:
        monkeypatch.setenv("AFIELD_FAKE", fake)
        folder = _launch.shared_folder() if shared else _launch.new_private_folder()
        kind = () if shared else ("--private",)
        launched = _launch.launch(folder, owned=True, arguments=(*kind, *arguments))
        assert launched is not None
        started.append(launched)
        return launched

    yield start
    for launched in started:
        launched.stop()
