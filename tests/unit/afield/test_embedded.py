"""Which platform a process gets. That one starts and stops is tested with real processes elsewhere."""

from pathlib import Path

import pytest

from afield import embedded
from afield.embedded import Platform, PlatformAddress
from afield.exception import InvalidError

SERVER = {"AFIELD_SERVER": "nats://h:4222", "AFIELD_TOKEN": "guest:secret", "AFIELD_HOST": "host-1"}


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any platform, and nothing configured."""
    for name in ("AFIELD_SERVER", "AFIELD_TOKEN", "AFIELD_GATEWAY", "AFIELD_BLOB_DIR", "AFIELD_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AFIELD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_configured_server_comes_first(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server configured, nothing is started, and no file is touched."""
    for name, value in SERVER.items():
        monkeypatch.setenv(name, value)
    with embedded.acquire() as hold:
        assert hold.address == PlatformAddress("nats://h:4222", "guest:secret", "", "", "host-1", False)
        assert hold.pid == 0
    assert not empty_home.exists()


def test_half_a_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without a token is an error, not a reason to start a private platform."""
    monkeypatch.setenv("AFIELD_SERVER", "nats://h:4222")
    with pytest.raises(InvalidError, match="AFIELD_TOKEN is not"):
        embedded.acquire()


def test_nothing_runs_in_an_empty_home(empty_home: Path) -> None:
    """Looking for a running platform in an empty home finds none, and makes no folder."""
    assert embedded.find_running() is None
    assert not empty_home.exists()


def test_a_hold_is_released_once() -> None:
    """Releasing a hold again does nothing."""
    released: list[int] = []
    hold = Platform(PlatformAddress("s", "t", "", "", "", True), release=lambda: released.append(1))
    with hold:
        pass
    hold.release()
    assert released == [1]
