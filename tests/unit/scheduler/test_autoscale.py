"""afield_scheduler.autoscale: how many containers, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Scaling
from afield_scheduler.autoscale import Idle, Load, desired, surplus, to_start


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
loads = st.builds(
    lambda backlog, containers, seconds, single, waiting, warming: Load(
        backlog, containers, seconds, single, min(waiting, containers), warming
    ),
    st.integers(0, 2000),
    st.integers(0, 100),
    st.none() | st.floats(0, 1000),
    st.booleans(),
    st.integers(0, 100),
    st.booleans(),
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
    if desired(scaling, load) > load.containers and not (load.warming and load.containers):
        assert count >= 1


@given(scalings, loads)
def test_whoever_waits_blocks_nobody(scaling: Scaling, load: Load) -> None:
    """Packs beyond those that wait for calls of their own are never left without a container."""
    wanted = desired(scaling, load)
    if load.backlog > load.waiting and scaling.max_containers is None:
        assert wanted > load.waiting


@given(scalings, loads)
def test_growth_reaches_the_goal(scaling: Scaling, load: Load) -> None:
    """Look by look the number grows to what is desired, and stops there."""
    load = load._replace(warming=False)
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
