"""Secrets of the roles."""

from typing import get_args

from afield_platform.roles import Role, make_secrets


def test_secrets_are_kept() -> None:
    """Known secrets stay, missing ones are made, unknown ones are dropped."""
    made = make_secrets({"client": "mine", "nobody": "x"})
    assert made["client"] == "mine"
    assert set(made) == {*get_args(Role), "http"}


def test_secrets_are_strong_and_plain() -> None:
    """Each secret has at least 128 bits, and stands anywhere without quoting."""
    for secret in make_secrets().values():
        assert len(secret) >= 22
        assert secret.replace("-", "").replace("_", "").isalnum()
