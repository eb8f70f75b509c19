"""The packs that are held, and what is remembered of those that were."""

import pytest

from afield._wire.functions import RetryPolicy
from afield_worker import feeder
from afield_worker.alarm import Alarm
from afield_worker.instructions import Nak, Pull
from afield_worker.ledger import Ledger
from support.pool import World, pack


def test_the_time_of_an_attempt_is_read_from_the_clock_once() -> None:
    """A clock that is set by an hour meanwhile changes nothing."""
    ledger = Ledger(Alarm())
    assert ledger.early("a", 4.0, now=100.0) == 4.0
    assert ledger.early("a", 3600.0, now=101.0) == 3.0
    assert ledger.early("a", 3600.0, now=104.0) == 0.0


def test_what_is_due_is_not_remembered() -> None:
    """Only what came too early."""
    ledger = Ledger(Alarm())
    assert ledger.early("a", -1.0, now=100.0) == 0.0
    assert ledger.early("a", 1.0, now=100.0) == 1.0


def test_a_clock_that_is_far_off_delays_no_attempt_for_long(world: World) -> None:
    """Another host says that it is due in an hour: its policy knows better."""
    world.container(retries=RetryPolicy(max_retries=1, max_delay=5.0))
    world.deliver(pack(not_before=1.0), wait=3600.0)
    assert world.naks() == [Nak(1, 60.0)]


def test_an_attempt_that_comes_again_in_time_runs(world: World) -> None:
    """And one that comes early again goes back for the rest."""
    world.container()
    world.deliver(pack(not_before=1.0), wait=2.5)
    world.wait(1.0)
    world.deliver(pack(not_before=1.0), times=2, wait=1.5)
    assert world.naks() == [Nak(2, 1.5)]
    world.wait(1.5)
    world.deliver(pack(not_before=1.0), times=3)
    assert world.runs()


def test_nothing_is_asked_for_while_results_pile_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes no results must not fill the memory of the worker."""
    monkeypatch.setattr(feeder, "MOST_STORING", 2)
    monkeypatch.setattr("afield_worker.pool.MOST_STORING", 2)
    world.container()
    for index in range(2):
        world.deliver(pack(index))
        world.wait(1.0)
        world.answer()
    assert not world.of(Pull)
    assert any(isinstance(item, Pull) for item in world.store())
