"""afield_scheduler.placement: filter, rank, plan."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Resources
from afield_scheduler.placement import Host, Need, Taken, explain, misfit, occupied, place


def host(worker_id: str = "wk-1", **changes: Any) -> Host:
    """An empty host with two cores, 1 GiB and one GPU."""
    has = {"cpus": 2.0, "memory_mib": 1024, "gpus": ("A100-80GB",), **changes}
    free = {"cpus_free": has["cpus"], "memory_free": has["memory_mib"], "gpus_free": has["gpus"]}
    return Host(worker_id=worker_id, **{**free, **has})


SMALL = Need(0.125, 128)
IN_EUROPE = SMALL._replace(labels=(("region", ("eu", "uk")),))


@pytest.mark.parametrize(
    ("need", "at", "reason", "never"),
    [
        (Need(4.0, 128), host(), "2 cores", True),
        (Need(0.1, 2048), host(), "1024 MiB", True),
        (Need(0.1, 128, ("H100",)), host(), "H100", True),
        (Need(0.1, 128, ("A100-80GB:2",)), host(), "A100-80GB:2", True),
        (Need(0.1, 128, runner="podman"), host(), "podman", True),
        (SMALL, host(draining=True), "drained", False),
        (SMALL, host(refused="full"), "full", False),
        (SMALL, host(cpus_free=0.1), "cores free", False),
        (SMALL, host(memory_free=100), "MiB free", False),
        (SMALL, host(containers_free=0), "as many containers", False),
        (Need(2.0, 128, first=True), host(cpus_free=-4.1), "cores free", False),
        (Need(0.1, 128, first=True), host(memory_free=100), "MiB free", False),
        (Need(4.0, 128, first=True), host(), "2 cores", True),
        (Need(0.1, 128, ("A100-80GB",)), host(gpus_free=()), "in use", False),
        (Need(0.1, 128, ("any:2",)), host(), "any:2", True),
        (Need(0.1, 128, ("H100:none",)), host(), "H100:none", True),
        (IN_EUROPE, host(), "has no region, eu or uk is asked for", True),
        (IN_EUROPE, host(labels={"region": "us"}), "labelled region=us, eu or uk", True),
        (SMALL, host(stalled="the disk is full"), "the disk is full", False),
    ],
)
def test_misfits(need: Need, at: Host, reason: str, never: bool) -> None:
    """Each reason says what is missing, and whether waiting helps."""
    why = misfit(need, at)
    assert why is not None
    assert reason in why.reason
    assert why.never is never


@pytest.mark.parametrize(
    "need",
    [
        SMALL,
        Need(2.0, 1024),
        Need(0.1, 128, ("H100", "a100-80gb")),
        Need(0.1, 128, ("any",)),
        Need(0.1, 128, runner="process"),
        Need(2.0, 128, first=True),
        IN_EUROPE,
    ],
)
def test_fits(need: Need) -> None:
    """Exactly full is fine, a later alternative is fine, `any` is any, one of several labels is enough."""
    assert misfit(need, host(labels={"region": "uk", "cloud": "own"})) is None


def test_every_label_must_match() -> None:
    """A host in the right region that may be taken away is not good enough for who asks for both."""
    both = SMALL._replace(labels=(("region", ("eu",)), ("nonpreemptible", ("true",))))
    assert misfit(both, host(labels={"region": "eu", "nonpreemptible": "true"})) is None
    why = misfit(both, host(labels={"region": "eu"}))
    assert why is not None
    assert "nonpreemptible" in why.reason


def test_preferred_device_first() -> None:
    """The first choice is taken wherever it is free, however loaded its host; then the second, then any."""
    choice = Need(0.1, 128, ("H100", "A100", "any"))
    hosts = [
        host("wk-t4", gpus=("T4",)),
        host("wk-a100", gpus=("A100",)),
        host("wk-h100", gpus=("H100", "A100"), cpus_free=0.3, gpus_free=("H100", "A100")),
    ]
    plan = place(choice, hosts, 5)
    assert plan.workers == ("wk-h100", "wk-a100", "wk-h100", "wk-t4")
    assert not plan.never


def test_quantities_are_of_one_kind() -> None:
    """Two of a kind are not one of each; `any` takes what there is."""
    mixed = host(gpus=("H100", "A100"))
    assert misfit(Need(0.1, 128, ("H100:2", "A100:2")), mixed) is not None
    assert place(Need(0.1, 128, ("H100:2", "any:2")), [mixed], 2).workers == ("wk-1",)


def test_containers_are_spread() -> None:
    """Each container goes to the least loaded host; ties go to the smaller id."""
    plan = place(SMALL, [host("wk-b"), host("wk-a")], 4)
    assert plan.workers == ("wk-a", "wk-b", "wk-a", "wk-b")


def test_big_hosts_take_more() -> None:
    """Load is a share of the host, not a count."""
    plan = place(Need(1.0, 1), [host("wk-a", cpus=6.0), host("wk-b")], 4)
    assert Counter(plan.workers) == {"wk-a": 3, "wk-b": 1}


def test_gpus_are_taken_one_by_one() -> None:
    """Two containers with a GPU each do not fit where one GPU is."""
    plan = place(Need(0.1, 8, ("any",)), [host()], 2)
    assert plan.workers == ("wk-1",)
    assert not plan.never
    assert "in use" in explain(plan)


def test_occupied_host_has_less() -> None:
    """Containers that are there, and those on their way, count; so does one that asks for nothing."""
    big = Resources(cpu=1.0, memory_mib=512, gpu=("any",))
    full = occupied(host(containers_free=9), [Taken(big), Taken(Resources(cpu=0, memory_mib=0))])
    assert (full.cpus_free, full.memory_free, full.gpus_free) == (1.0, 504, ())
    assert full.containers_free == 7


def test_one_that_waits_has_memory_but_no_core() -> None:
    """Cores are for those who compute; memory and devices are held by everybody."""
    full = occupied(host(), [Taken(Resources(cpu=1.5, memory_mib=512, gpu=("any",)), cores=False)])
    assert (full.cpus_free, full.memory_free, full.gpus_free) == (2.0, 512, ())


def test_explanation_names_every_worker() -> None:
    """Never and not now are told apart, worker by worker."""
    never = place(Need(4.0, 128), [host("wk-a"), host("wk-b", cpus=1.0)], 1)
    assert never.never
    assert explain(never) == (
        "no worker can run it: wk-a has 2 cores, 4 are asked for; wk-b has 1 cores, 4 are asked for"
    )
    later = place(Need(2.0, 128), [host("wk-a", cpus_free=1.0), host("wk-b", cpus=1.0)], 1)
    assert not later.never
    assert explain(later).startswith("no worker has room now: wk-a has 1 of 2 cores free")


def test_no_workers_is_a_reason_too() -> None:
    """Without any worker nothing can start, and that may change."""
    plan = place(SMALL, [], 1)
    assert (plan.workers, plan.never, explain(plan)) == ((), False, "no worker is there")


hosts = st.lists(
    st.builds(
        lambda n, cpus, mem, gpus, draining: host(
            f"wk-{n}", cpus=cpus, memory_mib=mem, gpus=("T4",) * gpus, draining=draining
        ),
        st.integers(0, 9),
        st.floats(0, 16),
        st.integers(0, 8192),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda h: h.worker_id,
)
needs = st.builds(
    Need, st.floats(0, 4), st.integers(8, 2048), st.sampled_from([(), ("T4",), ("H100", "T4:2"), ("any",)])
)


@given(needs, hosts, st.integers(0, 40))
def test_capacity_is_never_exceeded(need: Need, fleet: list[Host], count: int) -> None:
    """No plan puts more on a host than it has, nor anything on one that is being drained."""
    plan = place(need, fleet, count)
    assert len(plan.workers) <= count
    for at in fleet:
        number = plan.workers.count(at.worker_id)
        assert number * need.cpu <= at.cpus + 1e-6
        assert number * need.memory_mib <= at.memory_mib
        assert not (number and at.draining)
        per_container = 2 if need.gpu[-1:] == ("T4:2",) else len(need.gpu)
        assert number * per_container <= len(at.gpus) or not need.gpu


@given(needs, hosts, st.integers(1, 40))
def test_short_plans_are_explained(need: Need, fleet: list[Host], count: int) -> None:
    """A plan is complete, or has a reason from every worker."""
    plan = place(need, fleet, count)
    if len(plan.workers) == count:
        assert plan.misfits == {}
    else:
        assert plan.misfits.keys() == {h.worker_id for h in fleet}


@given(needs, hosts, st.integers(0, 40), st.randoms())
def test_plan_does_not_depend_on_the_order(need: Need, fleet: list[Host], count: int, random: Any) -> None:
    """The same hosts in any order give the same plan."""
    shuffled = fleet[:]
    random.shuffle(shuffled)
    assert place(need, fleet, count) == place(need, shuffled, count)


def test_hosts_are_values() -> None:
    """Planning changes nothing that was passed in."""
    before = host()
    place(SMALL, [before], 3)
    assert before == replace(before)
    assert before.cpus_free == 2.0


def test_reasons_of_a_large_fleet_are_cut() -> None:
    """The sentence stays one that people read."""
    hosts = [host(f"wk-{n:03}") for n in range(100)]
    told = explain(place(Need(64.0, 128), hosts, 1))
    assert told.count("64 are asked for") == 20
    assert told.endswith("; and 80 more")
