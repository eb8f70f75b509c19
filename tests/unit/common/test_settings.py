"""afield_common.settings: environment variables, flags, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from afield_common.settings import BAD_SETTINGS, Settings, describe
from afield_worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SERVER", "TOKEN", "ENVIRONMENT", "HOST", "BLOB_DIR", "CACHE_DIR", "RUN_DIR", "SHARDS"):
        monkeypatch.delenv(f"AFIELD_{name}", raising=False)
    monkeypatch.setenv("AFIELD_HOME", str(tmp_path))


def test_defaults_need_nothing() -> None:
    """A service started bare talks to a server on this host, without a user."""
    address = Settings.load().address
    assert address.url == "nats://127.0.0.1:4222"
    assert (address.user, address.password) == ("", "")


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """AFIELD_TOKEN is split into the NATS user and its password."""
    monkeypatch.setenv("AFIELD_TOKEN", "worker:s:ecret")
    assert Settings.load().address[1:] == ("worker", "s:ecret")


def test_flag_wins_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag is the more specific wish."""
    monkeypatch.setenv("AFIELD_SHARDS", "2")
    assert Settings.load(["--shards", "3", "--log-level", "debug"]).shards == 3


def test_folders_follow_the_home(tmp_path: Path) -> None:
    """AFIELD_HOME holds all folders that are not set one by one."""
    settings = Settings.load()
    assert tmp_path in settings.cache_dir.parents
    assert tmp_path in settings.blob_dir.parents


def test_help_is_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It names the command, and defaults by their values."""
    with pytest.raises(SystemExit) as ended:
        Settings.load(["--help"])
    text = "".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert text.startswith("usage:python-mafield_common[")
    assert f"(default:{tmp_path}" in text
    assert "factory" not in text


def test_help_does_not_read_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that is set does not show."""
    monkeypatch.setenv("AFIELD_TOKEN", "worker:hush")
    with pytest.raises(SystemExit):
        Settings.load(["--help"])
    assert "hush" not in capsys.readouterr().out


def test_token_does_not_show_in_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings may end up in a log; the secret must not."""
    monkeypatch.setenv("AFIELD_TOKEN", "worker:hush")
    assert "hush" not in repr(Settings.load())


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKEN", "nocolon"), ("ENVIRONMENT", "a.b"), ("SHARDS", "0"), ("LOG_LEVEL", "loud")],
)
def test_bad_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What cannot work is refused before anything starts."""
    monkeypatch.setenv(f"AFIELD_{name}", value)
    with pytest.raises(ValidationError):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SHARDS", "two", "AFIELD_SHARDS: expected a whole number, got 'two'"),
        ("SHARDS", "0", "AFIELD_SHARDS: expected at least 1, got '0'"),
        ("SHARDS", "65", "AFIELD_SHARDS: expected at most 64, got '65'"),
        ("DRAIN_S", "soon", "AFIELD_DRAIN_S: expected a number, got 'soon'"),
        ("LOG_LEVEL", "loud", "AFIELD_LOG_LEVEL: expected 'debug', 'info', 'warning' or 'error', got 'loud'"),
        ("TOKEN", "hush", "AFIELD_TOKEN: expected <role>:<secret>, got a text without a colon"),
        ("LABELS", '{"zone": 3}', "AFIELD_LABELS['zone']: expected a string, got 3"),
        ("LABELS", "zone=a", "AFIELD_LABELS: expected JSON: Expecting value: line 1 column 1 (char 0)"),
        ("GPUS", '"H100"', "AFIELD_GPUS: expected a JSON list, got 'H100'"),
    ],
)
def test_what_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    """With the variable, what was expected and what came; a secret is not repeated."""
    monkeypatch.setenv(f"AFIELD_{name}", value)
    with pytest.raises(BAD_SETTINGS) as caught:
        WorkerSettings.load()
    assert describe(caught.value) == said
