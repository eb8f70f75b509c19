"""The deliveries of a worker, as the next one finds them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from afield_worker import estate
from afield_worker.estate import Estate, Left


class Delivery(NamedTuple):
    """As much of one as is noted."""

    subject: str
    reply: str


def delivery(number: int, reply: str = "") -> Any:
    """A delivery of its own message."""
    return Delivery(f"in.{number}", reply or f"$JS.ACK.{number}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a worker."""
    made = tmp_path / "wk-1"
    made.mkdir()
    return made


@pytest.fixture
def mine(folder: Path) -> Iterator[Estate]:
    """What is noted there."""
    made = Estate(folder / estate.FILE)
    yield made
    made.close()


def test_what_is_held_is_found(folder: Path, mine: Estate) -> None:
    """Without the file being closed or written out, as after a kill."""
    for number in range(3):
        mine.hold(delivery(number))
    mine.release(delivery(1))
    assert estate.read(folder) == Left("wk-1", ("$JS.ACK.0", "$JS.ACK.2"))


def test_a_redelivery_takes_the_place_of_the_first(folder: Path, mine: Estate) -> None:
    """The latest is the one to be sent back."""
    mine.hold(delivery(1, "first"))
    mine.hold(delivery(1, "second, and longer"))
    mine.hold(delivery(1, "third"))
    assert estate.read(folder).replies == ("third",)


def test_room_is_used_again_and_bounded(folder: Path, mine: Estate) -> None:
    """What does not fit is not noted, and harms nobody."""
    for _ in range(3):
        for number in range(estate.SLOTS + 10):
            mine.hold(delivery(number))
        assert len(estate.read(folder).replies) == estate.SLOTS
        for number in range(estate.SLOTS + 10):
            mine.release(delivery(number))
    assert estate.read(folder).replies == ()
    mine.hold(delivery(1, "x" * 300))
    assert estate.read(folder).replies == ()


def test_what_may_be_another_workers_by_now_is_left_alone(
    folder: Path, mine: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending it back would take it from whoever runs it; after a restart of the host the clock is another one."""
    mine.hold(delivery(1))
    now = time.monotonic()
    for later in (estate.SAFE_S + 1, -100.0):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        assert estate.read(folder).replies == ()


def test_a_delivery_is_as_young_as_the_last_report_of_progress(
    folder: Path, mine: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or as itself, if it came after that."""
    now = time.monotonic()

    def later(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: now + seconds)

    mine.hold(delivery(1))
    later(100)
    assert estate.read(folder).replies == ()
    mine.hold(delivery(2))
    assert estate.read(folder).replies == ("$JS.ACK.2",)
    mine.alive()
    later(101)
    assert estate.read(folder).replies == ("$JS.ACK.1", "$JS.ACK.2")


def test_a_worker_that_died_early_left_nothing(folder: Path) -> None:
    """There may be no file, or an empty one."""
    assert estate.read(folder) == Left("wk-1", ())
    (folder / estate.FILE).touch()
    assert estate.read(folder) == Left("wk-1", ())
