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


def reply(number: int, *, times: int = 1) -> str:
    """The reply subject of a delivery of message `number`, the `times`th one."""
    return f"$JS.ACK.IN_0.c.{times}.{number}.7.1700000000.0"


def delivery(number: int, *, times: int = 1) -> Any:
    """A delivery of its own message."""
    return Delivery(f"in.{number}", reply(number, times=times))


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
    assert estate.read(folder) == Left("wk-1", (reply(0), reply(2)))


def test_a_redelivery_takes_the_place_of_the_first(folder: Path, mine: Estate) -> None:
    """The latest is the one to be sent back."""
    for times in (1, 100, 3):
        mine.hold(delivery(1, times=times))
    assert estate.read(folder).replies == (reply(1, times=3),)


def test_what_ran_is_told(folder: Path, mine: Estate) -> None:
    """With the deaths that are known from before; what only waited is not to blame."""
    for number, deaths in enumerate((0, 0, 2, 2)):
        mine.hold(delivery(number), deaths)
    mine.runs(delivery(1))
    mine.runs(delivery(3))
    mine.hold(delivery(3, times=2))  # a twin of what runs
    assert estate.read(folder).deaths == {"IN_0.1": 1, "IN_0.2": 2, "IN_0.3": 3}
    for number in range(4):
        mine.release(delivery(number))
        mine.runs(delivery(number))  # too late, and of no effect
        mine.hold(delivery(number))
    assert estate.read(folder).deaths == {}


def test_what_may_be_another_workers_is_counted_all_the_same(
    folder: Path, mine: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not sent back, but whoever takes it should know that it ran."""
    mine.hold(delivery(1))
    mine.runs(delivery(1))
    late = time.monotonic() + estate.SAFE_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert estate.read(folder) == Left("wk-1", (), {"IN_0.1": 1})


def test_a_damaged_note_is_passed_over(folder: Path, mine: Estate) -> None:
    """Nothing is sent to a subject that is no delivery's."""
    mine.hold(Delivery("in.1", "$JS.API.STREAM.DELETE.IN_0"))  # type: ignore[arg-type]
    mine.hold(delivery(2))
    assert estate.read(folder).replies == (reply(2),)


def test_room_is_used_again_and_bounded(folder: Path, mine: Estate) -> None:
    """What does not fit is not noted, and harms nobody."""
    for _ in range(3):
        for number in range(estate.SLOTS + 10):
            mine.hold(delivery(number))
        assert len(estate.read(folder).replies) == estate.SLOTS
        for number in range(estate.SLOTS + 10):
            mine.release(delivery(number))
    assert estate.read(folder).replies == ()
    mine.hold(delivery(1, times=10**250))
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
    assert estate.read(folder).replies == (reply(2),)
    mine.alive()
    later(101)
    assert estate.read(folder).replies == (reply(1), reply(2))


def test_a_worker_that_died_early_left_nothing(folder: Path) -> None:
    """There may be no file, or an empty one."""
    assert estate.read(folder) == Left("wk-1")
    (folder / estate.FILE).touch()
    assert estate.read(folder) == Left("wk-1")
