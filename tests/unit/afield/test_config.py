"""Folders, and the configured server."""

import os
import stat
from pathlib import Path

import pytest

from afield import config
from afield.exception import InvalidError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing."""
    for name in [*os.environ]:
        if name.startswith(("AFIELD_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/somebody")


def test_folders_follow_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AFIELD_HOME the XDG folders are used, with their usual defaults; relative ones are ignored."""
    assert config.state_dir() == Path("/home/somebody/.local/state/afield")
    assert config.cache_dir() == Path("/home/somebody/.cache/afield")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert config.state_dir() == Path("/elsewhere/afield")
    assert config.cache_dir() == Path("/home/somebody/.cache/afield")


def test_one_home_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """AFIELD_HOME holds everything, and goes before the XDG folders."""
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    monkeypatch.setenv("AFIELD_HOME", "/srv/afield")
    assert (config.state_dir(), config.cache_dir()) == (Path("/srv/afield/state"), Path("/srv/afield/cache"))


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home, state goes to a folder of the user in the temporary folder."""
    monkeypatch.setenv("HOME", "/")
    assert config.state_dir().name == f"afield-{os.geteuid()}-state"
    assert config.state_dir().parent == config.cache_dir().parent


def test_nothing_configured() -> None:
    """Without settings there is no server, and the environment is `main`."""
    assert config.server() is None
    assert config.environment() == "main"


def test_a_configured_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and token come from the environment, with what else is known of the platform."""
    monkeypatch.setenv("AFIELD_SERVER", "nats://host:4222")
    monkeypatch.setenv("AFIELD_TOKEN", "client:secret")
    monkeypatch.setenv("AFIELD_BLOB_DIR", "/blobs")
    assert config.server() == config.Server("nats://host:4222", "client:secret", "", "/blobs", "")


@pytest.mark.parametrize(
    ("server", "token", "reason"),
    [
        ("nats://h:1", "", "AFIELD_SERVER is set but AFIELD_TOKEN is not"),
        ("", "client:x", "AFIELD_TOKEN is set but AFIELD_SERVER is not"),
        ("host:4222", "client:x", "should be an address"),
        ("nats://h:1", "client", "should be '<user>:<secret>'"),
    ],
)
def test_half_a_configuration(server: str, token: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that cannot work is refused, naming the variable; a token is never repeated."""
    monkeypatch.setenv("AFIELD_SERVER", server)
    monkeypatch.setenv("AFIELD_TOKEN", token)
    with pytest.raises(InvalidError, match=reason):
        config.server()


def test_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit environment goes before the variable; a name that cannot stand in a subject is refused."""
    monkeypatch.setenv("AFIELD_ENVIRONMENT", "staging")
    assert config.environment() == "staging"
    assert config.environment("dev") == "dev"
    with pytest.raises(InvalidError, match=r"not 'a\.b'"):
        config.environment("a.b")


def test_private_folders(tmp_path: Path) -> None:
    """A folder of ours is for its user alone, also if it was there already."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True, mode=0o755)
    config.make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The folder, the reason and the way out are named."""
    (tmp_path / "file").touch()
    with pytest.raises(
        InvalidError, match=r"cannot keep files in .*/file/state: Not a directory.*AFIELD_HOME"
    ):
        config.make_private(tmp_path / "file" / "state")
