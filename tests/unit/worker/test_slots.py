"""How much work a function's containers can take, and what is asked for."""

from typing import Any

import pytest

from afield_worker.container import Container
from afield_worker.held import Held
from afield_worker.slots import MAX_AHEAD, PATIENCE_S, QUEUE_S, Slots
from support.pool import pack, record


def slots(*containers: str, mean: float | None = None, **spec: Any) -> Slots:
    """A function with containers in the phases named, at time 0."""
    made = Slots(record(**spec))
    made.mean = mean
    for number, phase in enumerate(containers):
        container = Container(f"ta-{number}", made, 0.0)
        made.containers[container.id] = container
        if phase != "starting":
            container.advance("ready")
        if phase == "busy":
            container.running[number] = held(number)
        if phase == "stopping":
            container.advance("stop")
    return made


def held(number: int, lane: str = "lo") -> Held:
    """A pack that was delivered at time 0."""
    return Held(number, f"in.{number}", "hi" if lane == "hi" else "lo", pack(number), object(), 1, 0.0)


@pytest.mark.parametrize(
    ("mean", "ahead"),
    [(None, 0), (1.0, 0), (0.021, 0), (0.02, 1), (0.004, 5), (0.00001, MAX_AHEAD), (0.0, MAX_AHEAD)],
)
def test_twenty_milliseconds_of_work_wait_behind_a_container(mean: float | None, ahead: int) -> None:
    """None while nobody knows how long a pack takes."""
    assert slots(mean=mean).ahead() == ahead


def test_nothing_waits_behind_a_single_use_container() -> None:
    """It will not take a second pack."""
    assert slots(mean=0.001, single_use=True).ahead() == 0


@pytest.mark.parametrize(
    ("phases", "mean", "capacity"),
    [
        (["starting"], 0.004, 1),
        (["ready"], None, 1),
        (["ready"], 0.004, 6),
        (["busy"], None, 0),
        (["busy"], 0.004, 5),
        (["stopping"], 0.004, 0),
        (["ready", "busy", "starting"], 0.004, 12),
    ],
)
def test_capacity_counts_free_containers_and_what_waits_behind(
    phases: list[str], mean: float | None, capacity: int
) -> None:
    """One pack for a container that is free or starting, and those kept ahead."""
    assert slots(*phases, mean=mean).capacity(0.0) == capacity


def test_a_container_that_works_for_long_promises_nothing() -> None:
    """Whatever the mean is."""
    busy = slots("busy", mean=0.004)
    assert busy.capacity(PATIENCE_S * 0.9) == 5
    assert busy.capacity(PATIENCE_S) == 0


def test_both_lanes_are_asked_for_the_whole_room() -> None:
    """Nobody knows which one will deliver."""
    assert slots("ready", mean=0.02).wants(0.0) == [("hi", 2), ("lo", 2)]


def test_asking_again_waits_until_half_has_come() -> None:
    """A request for each single delivery would cost more than it brings."""
    quick = slots("ready", mean=0.005)
    assert quick.wants(0.0) == [("hi", 5), ("lo", 5)]
    quick.arrived("hi", 0, 0.0)
    assert quick.wants(0.0) == []
    quick.arrived("hi", 0, 0.0)
    quick.arrived("hi", 0, 0.0)
    assert quick.wants(0.0) == [("hi", 3)]


def test_lo_gets_what_the_backlog_of_hi_leaves() -> None:
    """So that nothing of `lo` is delivered only to be sent back."""
    quick = slots("ready", mean=0.005)
    quick.arrived("hi", 3, 0.0)
    assert quick.wants(0.0) == [("hi", 5), ("lo", 2)]
    assert quick.deferred


def test_a_backlog_that_does_not_come_is_forgotten() -> None:
    """Other workers took it."""
    quick = slots("ready")
    quick.arrived("hi", 3, 0.0)
    assert quick.wants(0.0) == [("hi", 1)]
    assert quick.wants(QUEUE_S) == [("lo", 1)]
    assert not quick.deferred


def test_the_newest_of_lo_goes_back_first() -> None:
    """When more waits than can start."""
    full = slots("ready", mean=0.02)
    packs = [held(1, "hi"), held(2), held(3)]
    for each in packs:
        full.enqueue(each)
    assert full.excess(0.0) == [packs[2]]
    assert full.take() is packs[0]


def test_the_mean_follows_what_is_measured() -> None:
    """The first measure counts whole, later ones in part."""
    new = slots()
    new.measure(1.0)
    new.measure(2.0)
    assert new.mean == pytest.approx(1.2)


def test_a_server_that_has_forgotten_deliveries_is_noticed() -> None:
    """What is older than something that came before may have come before, too; each lane has an order of its own."""
    made = slots()
    assert [made.behind("lo", at) for at in (10, 20, 15, 20, 21, 20)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert not made.behind("hi", 5)
