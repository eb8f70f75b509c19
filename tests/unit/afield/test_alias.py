"""Importing afield under another name."""

import subprocess
import sys

import pytest

from afield import _alias
from afield.exception import InvalidError


def in_new_process(code: str, **env: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_alias_is_the_same_module() -> None:
    """Modules and classes are the very same under both names, in every form of import."""
    code = """
from afield import _alias
_alias.install("modal")
import modal, modal.exception, afield.exception
from modal.exception import InvalidError
from modal import config
assert modal.exception is afield.exception and modal.config is config
print(InvalidError.__module__, modal.__name__, modal.exception.__spec__.name)
"""
    assert in_new_process(code) == "afield.exception afield afield.exception"


def test_a_missing_part_is_named_as_asked() -> None:
    """A module that afield lacks is missing under the alias too."""
    code = """
from afield import _alias
_alias.install("modal")
try:
    import modal.nothing_here
except ModuleNotFoundError as error:
    print(error)
"""
    assert in_new_process(code) == "No module named 'modal.nothing_here'"


def test_the_alias_goes_along_in_the_environment() -> None:
    """A container started with the environment of the run knows the alias."""
    code = "from afield import _alias; _alias.install_from_environment(); import modal; print(modal.__name__)"
    assert in_new_process(code, AFIELD_ALIAS="modal") == "afield"


@pytest.mark.parametrize("name", ["a-b", "a.b", ""])
def test_names_that_cannot_be_imported(name: str) -> None:
    """An alias must be one identifier."""
    with pytest.raises(InvalidError, match="module name like modal"):
        _alias.install(name)


def test_names_that_are_taken() -> None:
    """A module that is there already is not hidden."""
    with pytest.raises(InvalidError, match="'json' is imported already"):
        _alias.install("json")
