"""afield_scheduler.ledger: what is kept of hosts and functions, and when it is taken in."""

from dataclasses import replace

from afield._wire.functions import Scaling
from afield_scheduler.placement import need_of
from afield_scheduler.snapshot import Snapshot
from support.fleet import container, function, worker


def test_idle_containers_that_must_stay_are_not_offered() -> None:
    """Those of a function that has its minimum; when it has one more, or needs less, its longest idle one is."""
    snapshot = Snapshot()
    kept = function("fu-1", scaling=Scaling(min_containers=1))
    snapshot.put_function(kept)
    snapshot.put_worker(worker("wk-1", container("ta-1", idle_since=5.0)))
    snapshot.view("fu-9")
    assert len(snapshot._ledger.idle) == 0
    snapshot.put_worker(worker("wk-2", container("ta-2", idle_since=9.0)))
    snapshot.view("fu-9")
    assert list(snapshot._ledger.idle) == [((5.0, "ta-1"), "wk-1"), ((9.0, "ta-2"), "wk-2")]
    snapshot.mark_stopping("ta-2", 0.0)
    snapshot.view("fu-9")
    assert len(snapshot._ledger.idle) == 0
    snapshot.put_function(replace(kept, spec=replace(kept.spec, scaling=Scaling())))
    snapshot.view("fu-9")
    assert list(snapshot._ledger.idle) == [((5.0, "ta-1"), "wk-1")]


def test_containers_of_functions_that_are_gone_are_strays_and_not_offered() -> None:
    """Until the function is heard of."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container("ta-1", idle_since=5.0)))
    snapshot.view("fu-9")
    assert (len(snapshot.strays()), len(snapshot._ledger.idle), len(snapshot._ledger.shares)) == (1, 0, 0)
    snapshot.put_function(function("fu-1"))
    snapshot.view("fu-9")
    assert (len(snapshot.strays()), len(snapshot._ledger.idle), len(snapshot._ledger.shares)) == (0, 1, 1)
    snapshot.remove_function("fu-1")
    snapshot.view("fu-9")
    assert (len(snapshot.strays()), len(snapshot._ledger.idle), len(snapshot._ledger.shares)) == (1, 0, 0)


def test_a_worker_that_is_gone_is_in_no_index() -> None:
    """Nobody is placed there any more."""
    snapshot = Snapshot()
    snapshot.put_function(function("fu-1"))
    snapshot.put_worker(worker("wk-1", container("ta-1", idle_since=5.0)))
    need = need_of(function().spec)
    assert snapshot.view("fu-1").place(need, 1) == ("wk-1",)
    snapshot.remove_worker("wk-1", 0.0)
    assert snapshot.view("fu-1").place(need, 1) == ()
    assert not snapshot.view("fu-1").never(need)
    assert len(snapshot._ledger.idle) == len(snapshot._ledger.cleared) == len(snapshot._ledger.settled) == 0


def test_changes_that_nobody_asks_for_are_not_kept_for_ever() -> None:
    """A scheduler that does not lead hears of functions that come and go, and is asked nothing."""
    snapshot = Snapshot()
    for n in range(25_000):
        snapshot.put_function(function(f"fu-{n}"))
        snapshot.remove_function(f"fu-{n}")
    assert len(snapshot._crews.moved) <= 10_001
