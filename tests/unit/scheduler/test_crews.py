"""afield_scheduler.crews: who is there for each function, and whom a change is noted for."""

from afield._wire.functions import Resources
from afield_scheduler.crews import STOPPING_S, Crews, Starting
from support.fleet import container, worker


def start(container_id: str = "ta-1", worker_id: str = "wk-1", since: float = 0.0) -> Starting:
    return Starting(container_id, "fu-1", worker_id, Resources(), since)


def noted(crews: Crews) -> tuple[set[str], set[str]]:
    """The functions and workers noted since the last time."""
    found = set(crews.moved), crews.stirred | crews.awaited
    for names in (crews.moved, crews.stirred, crews.awaited):
        names.clear()
    return found


def test_a_start_is_found_by_function_and_by_worker() -> None:
    """Until its worker shows it; and both are noted each time."""
    crews = Crews()
    crews.add_start(start())
    assert noted(crews) == ({"fu-1"}, {"wk-1"})
    assert list(crews.starts("fu-1")) == list(crews.coming("wk-1")) == ["ta-1"]
    crews.report(None, worker("wk-1", container("ta-1")))
    assert noted(crews) == ({"fu-1"}, {"wk-1"})
    assert not crews.starts("fu-1")
    assert not crews.coming("wk-1")


def test_a_report_that_says_nothing_new_moves_no_function() -> None:
    """Busy or idle, the number of containers is the same; the host may have changed."""
    crews = Crews()
    first = worker("wk-1", container("ta-1"), container("ta-2", "fu-2"))
    crews.report(None, first)
    noted(crews)
    second = worker("wk-1", container("ta-1", busy=1), container("ta-2", "fu-2"))
    assert crews.report(first, second) == set()
    assert noted(crews) == (set(), {"wk-1"})
    assert crews.report(second, worker("wk-1", container("ta-1", state="stopping"))) == {"fu-2"}
    assert noted(crews) == ({"fu-1", "fu-2"}, {"wk-1"})


def test_stops_that_never_happen_count_again_in_turn() -> None:
    """Each its time after it was last told; those told later wait for longer."""
    crews = Crews()
    crews.report(None, worker("wk-1", container("ta-1"), container("ta-2")))
    for container_id, at in (("ta-1", 0.0), ("ta-2", 1.0), ("ta-1", 2.0)):
        crews.mark_stopping(container_id, at)
    assert crews.count("fu-1") == 0
    noted(crews)
    crews.expire(1.0 + STOPPING_S, 10.0)
    assert [placed.record.container_id for placed in crews.staying("fu-1")] == ["ta-2"]
    assert noted(crews) == ({"fu-1"}, {"wk-1"})


def test_late_starts_are_given_up_in_turn() -> None:
    """Those that were asked for later are waited for."""
    crews = Crews()
    crews.add_start(start("ta-1", since=0.0))
    crews.add_start(start("ta-2", "wk-2", since=5.0))
    assert [late.container_id for late in crews.expire(10.0, 10.0)] == ["ta-1"]
    assert list(crews.starting) == list(crews.starts("fu-1")) == ["ta-2"]


def test_nothing_is_left_of_a_worker_that_is_gone() -> None:
    """Neither its containers nor those on their way there."""
    crews = Crews()
    record = worker("wk-1", container("ta-1"), container("ta-2", "fu-2"))
    crews.report(None, record)
    crews.add_start(start("ta-3"))
    assert crews.worker_gone(record, "wk-1") == {"fu-1", "fu-2"}
    assert not crews.placed
    assert not crews.starting
    assert crews.there("fu-1") == []
