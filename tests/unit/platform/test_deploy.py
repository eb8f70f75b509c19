"""The configuration for a server of its own."""

import os
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from afield_platform.binary import find_nats_server
from afield_platform.deploy import production_config
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
