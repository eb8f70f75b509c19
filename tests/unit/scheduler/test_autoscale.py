"""afield_scheduler.autoscale: how many containers, by table and by property."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Batching, Concurrency, Scaling
from afield_scheduler.autoscale import (
    Capacity,
    Idle,
    Load,
    capacity,
    desired,
    excess,
    next_surplus,
    surplus,
    to_start,
)
from support.fleet import function

TEN = Capacity(10, 10)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, Capacity(1, 1)),
        ({"concurrency": Concurrency(max_inputs=10)}, Capacity(10, 10)),
        ({"concurrency": Concurrency(max_inputs=10, target_inputs=4)}, Capacity(4, 10)),
        ({"batching": Batching(max_batch_size=8, wait_ms=5)}, Capacity(8, 8)),
        (
            {
                "batching": Batching(max_batch_size=8, wait_ms=5),
                "concurrency": Concurrency(max_inputs=3, target_inputs=2),
            },
            Capacity(16, 24),
        ),
        ({"concurrency": Concurrency(max_inputs=10), "single_use": True}, Capacity(1, 1)),
    ],
)
def test_capacity(changes: dict[str, Any], wanted: Capacity) -> None:
    """Inputs at once times those of a batch; a container for one input takes one."""
    assert capacity(function(**changes).spec) == wanted


@pytest.mark.parametrize(
    ("scaling", "load", "wanted"),
    [
        (Scaling(), Load(0, 0), 0),
        (Scaling(), Load(1, 0), 1),
        (Scaling(), Load(7, 0), 7),
        (Scaling(), Load(160, 1, 0.0005), 1),
        (Scaling(), Load(160, 1, 0.01), 16),
        (Scaling(), Load(5, 1, 10.0), 5),
        (Scaling(), Load(5, 1, 0.0), 1),
        (Scaling(), Load(5, 1, 0.0001, single_use=True), 5),
        (Scaling(min_containers=2), Load(0, 0), 2),
        (Scaling(min_containers=2), Load(5, 0), 5),
        (Scaling(max_containers=3), Load(100, 0), 3),
        (Scaling(buffer_containers=2), Load(0, 0), 0),
        (Scaling(buffer_containers=2), Load(1, 0), 3),
        (Scaling(buffer_containers=2, max_containers=2), Load(1, 0), 2),
        # Five of six packs run in containers that wait for calls of their own: the sixth needs one more.
        (Scaling(), Load(6, 5, 0.001, waiting=5), 6),
        (Scaling(), Load(8, 5, waiting=5), 8),
        (Scaling(), Load(5, 5, 0.001, waiting=5), 5),
        (Scaling(max_containers=5), Load(8, 5, waiting=5), 5),
        # Extra idle ones under load, also while all that runs waits; none without.
        (Scaling(buffer_containers=2), Load(5, 5, waiting=5), 7),
        (Scaling(buffer_containers=3, min_containers=2), Load(1, 0), 4),
        (Scaling(buffer_containers=3, min_containers=9), Load(1, 0), 9),
        (Scaling(buffer_containers=3, min_containers=2), Load(0, 2), 2),
        # Ten at once in a container: twenty-five need three.
        (Scaling(), Load(25, 0, capacity=TEN), 3),
        (Scaling(), Load(25, 1, 60.0, capacity=TEN), 3),
        (Scaling(), Load(30, 1, 60.0, capacity=TEN), 3),
        (Scaling(), Load(31, 1, 60.0, capacity=TEN), 4),
        (Scaling(buffer_containers=1), Load(31, 1, 60.0, capacity=TEN), 5),
        # Quick ones: 0.1 s of work in a container is 10 ms of time for each of its ten.
        (Scaling(), Load(1000, 1, 0.01, capacity=TEN), 10),
        (Scaling(), Load(1000, 1, 0.0001, capacity=TEN), 1),
        # Chosen for 4 each though a container would take 10: only all ten together block it.
        (Scaling(), Load(8, 1, 60.0, capacity=Capacity(4, 10)), 2),
        (Scaling(), Load(12, 1, 60.0, waiting=1, capacity=Capacity(4, 10)), 2),
    ],
)
def test_desired(scaling: Scaling, load: Load, wanted: int) -> None:
    """Unknown packs get a container each, quick ones share, and the settings bound both."""
    assert desired(scaling, load) == wanted


@pytest.mark.parametrize(
    ("scaling", "load", "now"),
    [
        (Scaling(), Load(100, 0), 1),
        (Scaling(), Load(100, 1), 1),
        (Scaling(), Load(100, 2), 2),
        (Scaling(), Load(100, 8), 8),
        (Scaling(), Load(9, 8), 1),
        (Scaling(), Load(100, 1, 1.0), 99),
        (Scaling(), Load(10, 0, single_use=True), 10),
        (Scaling(min_containers=5), Load(0, 0), 5),
        (Scaling(), Load(1, 4), 0),
        (Scaling(), Load(100, 0, warming=True), 1),
        (Scaling(), Load(100, 1, warming=True), 0),
        (Scaling(min_containers=3), Load(100, 1, warming=True), 2),
        (Scaling(), Load(100, 1, 1.0, warming=True), 99),
        # What was told to stop still runs, and the bound is on what runs.
        (Scaling(max_containers=3), Load(100, 1, 1.0, leaving=2), 0),
        (Scaling(max_containers=3), Load(100, 1, 1.0, leaving=1), 1),
        (Scaling(max_containers=1), Load(5, 0, single_use=True, leaving=1), 0),
        (Scaling(max_containers=1), Load(5, 0, single_use=True), 1),
        (Scaling(), Load(100, 1, 1.0, leaving=50), 99),
    ],
)
def test_growth(scaling: Scaling, load: Load, now: int) -> None:
    """A function of unknown run time at most doubles, and waits for its first; a known one gets what it needs at once."""
    assert to_start(scaling, load) == now


def test_surplus_takes_the_longest_idle() -> None:
    """Of three idle containers the two that are not needed go, the longest idle ones."""
    idle = [Idle("b", 10.0), Idle("a", 5.0), Idle("c", 50.0)]
    assert surplus(Scaling(min_containers=1), Load(0, 3), idle, now=100.0) == ["a", "b"]


def test_surplus_waits_for_the_window() -> None:
    """An idle container stays for the scaledown window, to the second."""
    assert surplus(Scaling(scaledown_window=60), Load(0, 1), [Idle("a", 0.0)], now=59.9) == []
    assert surplus(Scaling(scaledown_window=60), Load(0, 1), [Idle("a", 0.0)], now=60.0) == ["a"]


def test_lowered_bound_is_kept_at_once() -> None:
    """Containers above max_containers stop as soon as they are idle, the others after the window."""
    idle = [Idle("a", 96.0), Idle("b", 97.0), Idle("c", 98.0)]
    assert surplus(Scaling(max_containers=4), Load(0, 6), idle, now=100.0) == ["a", "b"]
    assert excess(Scaling(max_containers=4), Load(0, 6)) == 2
    assert excess(Scaling(), Load(0, 6)) == 0


def test_next_surplus_is_when_the_window_ends() -> None:
    """Of the longest idle one, if there are more than are needed."""
    idle = [Idle("a", 90.0), Idle("b", 50.0)]
    window = Scaling(scaledown_window=60)
    assert next_surplus(window, Load(0, 2), idle, now=100.0) == 10.0
    assert next_surplus(window, Load(0, 2), [], now=100.0) is None
    assert next_surplus(Scaling(min_containers=2), Load(0, 2), idle, now=100.0) is None


scalings = st.builds(
    lambda low, more, buffer, window: Scaling(
        min_containers=low,
        max_containers=None if more is None else max(1, low + more),
        buffer_containers=buffer,
        scaledown_window=window,
    ),
    st.integers(0, 20),
    st.none() | st.integers(0, 20),
    st.integers(0, 5),
    st.floats(0, 1200),
)
capacities = st.builds(
    lambda target, more: Capacity(target, target + more), st.integers(1, 20), st.integers(0, 20)
)
loads = st.builds(
    lambda backlog, containers, seconds, single, waiting, warming, at_once, leaving: Load(
        backlog,
        containers,
        seconds,
        single,
        min(waiting, containers),
        warming,
        Capacity() if single else at_once,
        leaving,
    ),
    st.integers(0, 2000),
    st.integers(0, 100),
    st.none() | st.floats(0, 1000),
    st.booleans(),
    st.integers(0, 100),
    st.booleans(),
    capacities,
    st.integers(0, 10),
)


@given(scalings, loads)
def test_bounds_hold(scaling: Scaling, load: Load) -> None:
    """Never below min_containers, never above max_containers, and none without work or a minimum."""
    wanted = desired(scaling, load)
    assert wanted >= scaling.min_containers
    assert scaling.max_containers is None or wanted <= scaling.max_containers
    if not load.backlog:
        most = load.waiting if scaling.max_containers is None else min(load.waiting, scaling.max_containers)
        assert wanted == max(scaling.min_containers, most)
    elif scaling.max_containers != 0:
        assert wanted >= 1


@given(scalings, loads)
def test_starts_never_overshoot(scaling: Scaling, load: Load) -> None:
    """What is started fills the gap at most, and work never waits while nothing is started for it."""
    count = to_start(scaling, load)
    assert 0 <= count <= max(0, desired(scaling, load) - load.containers)
    running = load.containers + load.leaving
    if scaling.max_containers is not None:
        assert count == 0 or running + count <= scaling.max_containers
    full = scaling.max_containers is not None and running >= scaling.max_containers
    if desired(scaling, load) > load.containers and not (load.warming and load.containers) and not full:
        assert count >= 1


@given(scalings, loads)
def test_whoever_waits_blocks_nobody(scaling: Scaling, load: Load) -> None:
    """Packs beyond those that wait for calls of their own are never left without a container."""
    wanted = desired(scaling, load)
    if load.backlog > load.waiting * load.capacity.most and scaling.max_containers is None:
        assert wanted > load.waiting


@given(scalings, loads)
def test_growth_reaches_the_goal(scaling: Scaling, load: Load) -> None:
    """Look by look the number grows to what is desired, and stops there."""
    load = load._replace(warming=False, leaving=0)
    for _ in range(20):
        load = load._replace(containers=load.containers + to_start(scaling, load))
    assert load.containers >= desired(scaling, load)
    assert to_start(scaling, load) == 0


@given(scalings, loads, st.lists(st.floats(0, 1000), max_size=100), st.floats(0, 3000))
def test_no_flapping(scaling: Scaling, load: Load, since: list[float], now: float) -> None:
    """After a stop nothing is started again for the same load, and nothing more is stopped at once."""
    idle = [Idle(f"ta-{n}", at) for n, at in enumerate(since[: load.containers])]
    stopped = surplus(scaling, load, idle, now)
    after = load._replace(containers=load.containers - len(stopped))
    assert after.containers >= min(load.containers, desired(scaling, load))
    if stopped:
        assert to_start(scaling, after) == 0
    left = [each for each in idle if each.container_id not in stopped]
    assert surplus(scaling, after, left, now) == []


@given(scalings, st.integers(0, 50))
def test_scale_to_zero(scaling: Scaling, containers: int) -> None:
    """Without work, idle containers end at min_containers."""
    idle = [Idle(f"ta-{n}", 0.0) for n in range(containers)]
    stopped = surplus(scaling, Load(0, containers), idle, now=1e6)
    assert containers - len(stopped) == min(containers, scaling.min_containers)
