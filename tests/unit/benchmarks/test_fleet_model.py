"""The fleets of the scheduler's benchmark: what they are said to be."""

import pytest

from afield_scheduler.placement import need_of
from afield_scheduler.snapshot import Snapshot
from benchmarks.fleet_model import Load, Model, Size

SIZE = Size(10, 100, 1_000)


@pytest.mark.parametrize(
    ("load", "fits"), [("room", True), ("cores", False), ("memory", False), ("idle", False)]
)
def test_a_fleet_is_full_where_it_should_be(load: Load, fits: bool) -> None:
    """No function gets another container, or every one that wants no device does."""
    model, snapshot = Model(SIZE, load, newcomers=5), Snapshot()
    for function in model.functions:
        snapshot.put_function(function)
    for record in model.workers():
        snapshot.put_worker(record)
    plain = [f for f in model.functions if not f.spec.resources.gpu]
    assert [bool(snapshot.view(f.function_id).place(need_of(f.spec), 1)) for f in plain] == [fits] * len(
        plain
    )


def test_a_fleet_is_as_large_as_asked_for() -> None:
    """As many workers, about as many containers, of all functions but the newcomers; each time the same ones."""
    model = Model(SIZE, "room", newcomers=5)
    records = list(model.workers())
    containers = [c for record in records for c in record.containers]
    assert len(records) == SIZE.workers
    assert 0.8 * SIZE.containers < len(containers) < 1.2 * SIZE.containers
    newcomers = {f.function_id for f in model.newcomers}
    assert len(newcomers) == 5
    assert not newcomers & {c.function_id for c in containers}
    assert list(Model(SIZE, "room", newcomers=5).workers()) == records


def test_a_report_changes_something_where_something_is_idle() -> None:
    """Where all are busy, they stay so: the fleet stays full."""
    loads: list[tuple[Load, bool]] = [("memory", False), ("idle", True)]
    for load, changes in loads:
        model = Model(SIZE, load)
        record = next(model.workers())
        assert (model.later(record) != record) == changes
