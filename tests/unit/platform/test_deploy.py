"""The configuration for a server of its own."""

import os
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from afield_platform.binary import find_nats_server
from afield_platform.deploy import main, production_config
from afield_platform.roles import Role

FILE = Path(__file__).parents[3] / "deploy" / "nats" / "nats-server.conf"


def test_the_file_is_up_to_date() -> None:
    """The file in deploy/ has the permissions of the code."""
    assert FILE.read_text() == production_config(), (
        "run: python -m afield_platform.deploy > deploy/nats/nats-server.conf"
    )


def check(passwords: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Have nats-server read the file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AFIELD_")}
    command = [find_nats_server(), "-t", "-c", str(FILE)]
    return subprocess.run(command, env=kept | passwords, capture_output=True, text=True, timeout=20)


def test_nats_server_takes_it() -> None:
    """nats-server accepts the file when every role has a password."""
    done = check({f"AFIELD_PASSWORD_{role.upper()}": "secret" for role in get_args(Role)})
    assert "configuration file" in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", get_args(Role))
def test_a_missing_password_is_refused(role: Role) -> None:
    """Without the password of one role, the server does not start with an empty one."""
    done = check({f"AFIELD_PASSWORD_{each.upper()}": "secret" for each in get_args(Role) if each != role})
    assert done.returncode != 0
    assert f"AFIELD_PASSWORD_{role.upper()}" in done.stderr


def test_more_input_streams_are_permitted_on_request() -> None:
    """A platform with eight shards needs roles that may use eight input streams, and its file says so."""
    text = production_config(8)
    assert "$JS.API.CONSUMER.MSG.NEXT.IN_7.*" in text
    assert "AFIELD_SHARDS=8" in text
    assert "IN_4" not in production_config()


@pytest.mark.parametrize("shards", ["0", "65", "many"])
def test_a_number_of_shards_that_cannot_be_is_refused(
    shards: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(SystemExit):
        main(["--shards", shards])
    assert f"expected 1 to 64, got {shards!r}" in capsys.readouterr().err
