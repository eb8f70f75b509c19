"""afield_scheduler.holders: a holder counts as dead only where that is certain."""

import subprocess
import sys

import pytest

from afield_scheduler.holders import holder_name, is_dead


@pytest.fixture(autouse=True)
def _platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is part of a platform."""
    monkeypatch.setenv("AFIELD_PLATFORM", "shared-1")


def name_of_another() -> str:
    """The name of a holder in a process that has ended."""
    code = "from afield_scheduler.holders import holder_name; print(holder_name())"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_names_differ_and_their_process_lives() -> None:
    """Two candidates in one process have names of their own, and neither is dead."""
    one, two = holder_name(), holder_name()
    assert one != two
    assert not is_dead(one)
    assert not is_dead(two)


def test_holder_whose_process_has_ended_is_dead() -> None:
    """A process of the same platform that is no more will not renew anything."""
    assert is_dead(name_of_another())


def test_number_that_somebody_else_has_now_proves_nothing_alive() -> None:
    """A process id that was given out again does not keep its former owner alive."""
    name, place, pid, started = holder_name().split("/")
    assert is_dead("/".join((name, place, pid, str(int(started) + 1))))


def test_holder_of_another_place_may_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of processes of another platform, nor of a name that does not say where it is from."""
    elsewhere = name_of_another()
    monkeypatch.setenv("AFIELD_PLATFORM", "shared-2")
    assert not is_dead(elsewhere)
    assert not is_dead("scheduler-abc")
    monkeypatch.delenv("AFIELD_PLATFORM")
    assert not is_dead(elsewhere)
    assert "/" not in holder_name()
