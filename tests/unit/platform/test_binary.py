"""Finding nats-server."""

from pathlib import Path

import pytest

from afield_platform import binary


def program(folder: Path, version: str) -> Path:
    """A stand-in that knows its version."""
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho 'nats-server: v{version}'\n")
    path.chmod(0o755)
    return path


def test_the_chosen_one_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AFIELD_NATS_SERVER goes before all others."""
    path = program(tmp_path, "1.0.0")
    monkeypatch.setenv("AFIELD_NATS_SERVER", str(path))
    assert binary.find_nats_server() == str(path)


def test_the_installed_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was installed with afield is found without PATH."""
    monkeypatch.delenv("AFIELD_NATS_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(binary.find_nats_server()).name == "nats-server"


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is installed; PATH has one folder."""
    monkeypatch.delenv("AFIELD_NATS_SERVER", raising=False)
    monkeypatch.setattr(binary, "_installed", list)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_one_on_the_path_must_be_new_enough(only_path: Path) -> None:
    """An old one, as distributions ship it, is refused with both versions named."""
    program(only_path, "2.9.10")
    with pytest.raises(FileNotFoundError, match=r"is version 2\.9, but 2\.14 or newer"):
        binary.find_nats_server()
    path = program(only_path, "2.15.1")
    assert binary.find_nats_server() == str(path)


def test_none_at_all(only_path: Path) -> None:
    """Without any, the way to one is told."""
    with pytest.raises(FileNotFoundError, match="reinstall afield"):
        binary.find_nats_server()
