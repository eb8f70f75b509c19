"""The gateway of a real platform, in front of real containers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CLI = [sys.executable, "-m", "afield.cli"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the program `shop.py` heard from the gateway."""
    env = {**os.environ, "AFIELD_HOME": str(tmp_path_factory.mktemp("home"))}
    program = [sys.executable, str(Path(__file__).with_name("shop.py"))]
    subprocess.run([*CLI, "up", "--detach"], env=env, check=True, timeout=30)
    try:
        done = subprocess.run(program, env=env, check=True, timeout=50, stdout=subprocess.PIPE)
        yield json.loads(done.stdout)
    finally:
        subprocess.run([*CLI, "down"], env=env, check=True, timeout=30)


def test_a_function_is_called(answers: dict[str, Any]) -> None:
    """JSON in, JSON out, through a container."""
    assert answers["total"] == {"status": 200, "result": {"total": 1.5}}


def test_an_exception_is_told_with_its_traceback(answers: dict[str, Any]) -> None:
    """Class, message and the remote lines are in the problem document."""
    found = answers["fail"]

    assert (found["status"], found["exception"]) == (500, "LookupError")
    assert "there is no tea" in found["detail"]
    assert "shop.py" in found["traceback"]


def test_a_call_that_does_not_fit_the_signature(answers: dict[str, Any]) -> None:
    """Python's own complaint about the arguments reaches the caller, whose fault it is."""
    found = answers["arguments"]

    assert (found["status"], found["type"]) == (422, "urn:afield:problem:wrong-arguments")
    assert "missing 1 required positional argument" in found["detail"]


def test_a_result_that_is_not_json(answers: dict[str, Any]) -> None:
    """Bytes have no JSON form, and the problem says so."""
    assert answers["binary"]["type"] == "urn:afield:problem:result-not-json"


def test_a_slow_call_times_out(answers: dict[str, Any]) -> None:
    """The caller's bound holds, whatever the function does."""
    assert answers["slow"]["status"] == 504


def test_a_misspelt_function(answers: dict[str, Any]) -> None:
    """The nearest name is suggested."""
    assert (answers["wrong"]["status"], answers["wrong"]["suggestions"][0]) == (404, "total")


def test_the_platform_is_healthy_and_measured(answers: dict[str, Any]) -> None:
    """All parts answer the gateway's user, and the fleet's figures are there."""
    assert answers["health"]["status"] == "ok", answers["health"]
    assert 'afield_workers{state="active"} 1.0' in answers["metrics"]
