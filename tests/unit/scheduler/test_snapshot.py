"""afield_scheduler.snapshot: what is known, counted once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Resources
from afield_scheduler.claims import AVOID_S
from afield_scheduler.crews import STOPPING_S, Starting
from afield_scheduler.placement import Need
from afield_scheduler.snapshot import Snapshot
from support.fleet import container, function, worker


def starting(container_id: str = "ta-1", worker_id: str = "wk-1", since: float = 0.0) -> Starting:
    return Starting(container_id, "fu-1", worker_id, Resources(cpu=1.0), since)


def test_a_start_counts_once() -> None:
    """A container counts from the request on, and not twice when its worker shows it."""
    snapshot = Snapshot()
    snapshot.add_start(starting())
    assert snapshot.count("fu-1") == 1
    snapshot.put_worker(worker("wk-1", container("ta-1")))
    assert snapshot.count("fu-1") == 1
    assert snapshot.starting == {}


def test_lost_containers_are_reported() -> None:
    """A report without a container that was there names its function; a worker's death names all of them."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1"), container("ta-2", "fu-2")))
    assert snapshot.put_worker(worker("wk-1", container("ta-2", "fu-2"))) == {"fu-1"}
    snapshot.add_start(replace_function(starting(), "fu-3"))
    assert snapshot.remove_worker("wk-1", 0.0) == {"fu-2", "fu-3"}
    assert [snapshot.count(f"fu-{n}") for n in (1, 2, 3)] == [0, 0, 0]


def replace_function(start: Starting, function_id: str) -> Starting:
    return start._replace(function_id=function_id)


def test_an_ended_container_is_gone_ahead_of_the_report() -> None:
    """An event is faster than a record: what it ends counts no more, started or still starting."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1")))
    snapshot.add_start(starting("ta-2"))
    assert snapshot.ended("ta-1", "fu-1")
    assert snapshot.ended("ta-2", "fu-1")
    assert not snapshot.ended("ta-2", "fu-1")
    assert snapshot.count("fu-1") == 0


def test_starts_that_never_show_are_given_up() -> None:
    """After the timeout a start counts no more, and its function is looked at."""
    snapshot = Snapshot()
    snapshot.add_start(starting(since=100.0))
    assert snapshot.expire(109.9, 10.0) == set()
    assert snapshot.expire(110.0, 10.0) == {"fu-1"}
    assert snapshot.count("fu-1") == 0


def test_a_stopping_container_does_not_count() -> None:
    """From the request to stop on; but again when its worker shows it busy, or when it does not stop in time."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1", idle_since=5.0)))
    snapshot.mark_stopping("ta-1", 0.0)
    assert snapshot.count("fu-1") == 0
    snapshot.put_worker(worker("wk-1", container("ta-1", busy=1)))
    assert snapshot.count("fu-1") == 1
    snapshot.mark_stopping("ta-1", 0.0)
    snapshot.expire(STOPPING_S, 10.0)
    assert snapshot.count("fu-1") == 1


def test_capacity_includes_what_is_coming() -> None:
    """A start under way takes its share of the host before the worker shows it."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-0", resources=Resources(cpu=0.5, memory_mib=100))))
    snapshot.add_start(starting())
    (host,) = snapshot.view("fu-1").hosts()
    assert (host.cpus_free, host.memory_free) == (0.5, 4096 - 100 - 128)


def test_a_start_gets_none_of_the_devices_that_others_have() -> None:
    """Though it would prefer one of these: the one that it will get is not free any more."""
    snapshot = Snapshot()
    holder = container("ta-0", resources=Resources(gpu=("H100",)), gpus=("H100",))
    snapshot.put_worker(worker("wk-1", holder, gpus=("A100", "H100")))
    snapshot.add_start(starting()._replace(resources=Resources(gpu=("H100", "A100"))))
    (host,) = snapshot.view("fu-1").hosts()
    assert host.gpus_free == ()


def test_refusals_count_until_the_worker_reports() -> None:
    """A worker that refused is spared for this function until its next report, or for a moment."""
    snapshot = Snapshot()
    snapshot.put_worker(worker())
    snapshot.start_refused(starting(), "full", 0.0)
    assert [h.refused for h in snapshot.view("fu-1").hosts()] == ["full"]
    assert [h.refused for h in snapshot.view("fu-2").hosts()] == [""]
    snapshot.put_worker(worker())
    assert [h.refused for h in snapshot.view("fu-1").hosts()] == [""]
    snapshot.start_refused(starting(), "full", 0.0)
    snapshot.expire(AVOID_S, 10.0)
    assert [h.refused for h in snapshot.view("fu-1").hosts()] == [""]


def test_run_time_is_the_mean_over_workers() -> None:
    """Workers that never ran the function have no say."""
    snapshot = Snapshot()
    assert snapshot.pack_seconds("fu-1") is None
    for n, seconds in enumerate((1.0, 3.0)):
        snapshot.put_worker(worker(f"wk-{n}", pack_seconds={"fu-1": seconds}))
    snapshot.put_worker(worker("wk-9"))
    assert snapshot.pack_seconds("fu-1") == pytest.approx(2.0)


def test_strays_have_no_function() -> None:
    """Containers of functions that nobody knows are found."""
    snapshot = Snapshot()
    snapshot.put_function(function("fu-1"))
    snapshot.put_worker(worker("wk-1", container("ta-1"), container("ta-2", "fu-2")))
    assert [p.record.container_id for p in snapshot.strays()] == ["ta-2"]


def test_those_that_wait_are_counted_and_their_change_is_told() -> None:
    """A function is looked at again when more, or fewer, of its containers wait for calls of their own."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1", busy=1)))
    assert snapshot.put_worker(worker("wk-1", container("ta-1", busy=1, waits=True))) == {"fu-1"}
    assert snapshot.waiting("fu-1") == 1
    assert snapshot.put_worker(worker("wk-1", container("ta-1", busy=1, waits=True))) == set()
    assert snapshot.put_worker(worker("wk-1", container("ta-1", busy=1))) == {"fu-1"}
    assert snapshot.waiting("fu-1") == 0


def test_cores_are_free_before_memory_is() -> None:
    """An idle container that was told to stop computes no more, but has its memory until it is gone."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1", idle_since=5.0)))
    snapshot.mark_stopping("ta-1", 0.0)
    (host,) = snapshot.view("fu-2").hosts()
    assert (host.cpus_free, host.memory_free) == (2.0, 4096 - 128)
    assert [host.memory_free for host in snapshot.view("fu-2").settled(Need(1.0, 4096), 1)] == [4096]
    snapshot.ended("ta-1", "fu-1")
    (host,) = snapshot.view("fu-2").hosts()
    assert host.memory_free == 4096


def test_one_that_retires_has_its_core_until_the_end() -> None:
    """It still runs something."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1", busy=1, state="stopping")))
    assert [host.cpus_free for host in snapshot.view("fu-2").hosts()] == [2.0 - 0.125]


def test_warming_ends_with_the_first_that_is_up() -> None:
    """The age of the first start counts; a function that has a container up, or none at all, does not warm up."""
    snapshot = Snapshot()
    assert snapshot.crew("fu-1", 10.0, 1010.0).warming is None
    snapshot.add_start(starting(since=9.0))
    assert snapshot.crew("fu-1", 10.0, 1010.0).warming == 1.0
    snapshot.put_worker(worker("wk-1", container("ta-2", state="starting", started_at=1007.0)))
    assert snapshot.crew("fu-1", 10.0, 1010.0).warming == 3.0
    snapshot.put_worker(worker("wk-1", container("ta-2")))
    assert snapshot.crew("fu-1", 10.0, 1010.0).warming is None


reports = st.lists(
    st.tuples(st.sampled_from(["wk-1", "wk-2"]), st.frozensets(st.integers(0, 5), max_size=6), st.booleans()),
    max_size=12,
)


@given(reports)
def test_containers_are_those_of_the_last_reports(history: list[tuple[str, frozenset[int], bool]]) -> None:
    """After any history, the containers are exactly those in the last report of each living worker."""
    snapshot, last = Snapshot(), dict[str, set[str]]()
    for worker_id, numbers, dies in history:
        ids = {f"ta-{worker_id}-{n}" for n in numbers}
        snapshot.put_worker(worker(worker_id, *(container(i, f"fu-{i[-1]}") for i in sorted(ids))))
        last[worker_id] = ids
        if dies:
            snapshot.remove_worker(worker_id, 0.0)
            del last[worker_id]
    known = {placed.record.container_id for n in range(6) for placed in snapshot.containers(f"fu-{n}")}
    assert known == set().union(*last.values())


def test_records_are_values() -> None:
    """A function's new version replaces the old one."""
    snapshot = Snapshot()
    snapshot.put_function(function())
    snapshot.put_function(replace(function(), version=2))
    assert snapshot.functions["fu-1"].version == 2
    assert snapshot.remove_function("fu-1") is not None
    assert snapshot.remove_function("fu-1") is None
