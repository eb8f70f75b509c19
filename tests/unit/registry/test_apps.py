"""afield_registry.apps: records to records."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import FunctionRecord
from afield_common.errors import RefusedError
from afield_registry import apps
from support.records import NOW, app, spec


def ids() -> "count[int]":
    return count(1)


def test_function_ids_are_stable() -> None:
    """A name that is published again keeps its id, a new one gets the next."""
    numbers = ids()
    first = apps.with_functions(app(), ("f", "g"), lambda: f"fu-{next(numbers)}")
    second = apps.with_functions(first, ("g", "h"), lambda: f"fu-{next(numbers)}")
    assert second.functions == {"f": "fu-1", "g": "fu-2", "h": "fu-3"}


def test_equal_publish_changes_nothing() -> None:
    """The same request again yields equal records."""
    first = apps.with_functions(app(), ("f",), lambda: "fu-1")
    record = apps.function_record(first, spec(), 4, {})
    assert apps.with_functions(first, ("f",), lambda: "fu-2") == first
    assert apps.function_record(first, spec(), 8, {"fu-1": record}) == record


def test_changed_function_is_a_new_version_on_its_shard() -> None:
    """New code is the next version; inputs that wait stay where they are, whatever the number of shards is now."""
    owner = apps.with_functions(app(), ("f",), lambda: "fu-1")
    old = apps.function_record(owner, spec(), 1, {})
    new = apps.function_record(owner, spec(timeout=5.0), 64, {"fu-1": old})
    assert (new.version, new.shard, new.spec.timeout) == (2, 0, 5.0)


def test_stopped_app_takes_no_functions() -> None:
    """Publishing to a stopped app is refused."""
    over = apps.stopped(app(), "stop", "done", NOW)
    with pytest.raises(RefusedError, match="stopped"):
        apps.with_functions(over, ("f",), lambda: "fu-1")


def test_stop_says_when_and_why() -> None:
    """A stopped app keeps its functions' names, for the record."""
    running = replace(app(), functions={"f": "fu-1"})
    over = apps.stopped(running, "lapse", "no heartbeat", NOW + 60)
    assert (over.state, over.stopped_at, over.stop_reason) == ("stopped", NOW + 60, "no heartbeat")
    assert over.functions == {"f": "fu-1"}


@given(st.text(min_size=1), st.integers(1, 64))
def test_shard_is_in_range_and_stable(function_id: str, shards: int) -> None:
    """Every id has one shard, the same each time."""
    shard = apps.shard_of(function_id, shards)
    assert 0 <= shard < shards
    assert shard == apps.shard_of(function_id, shards)


def test_record_names_its_app() -> None:
    """A function's record can be used without the app's."""
    owner = apps.with_functions(app(name="census"), ("f",), lambda: "fu-1")
    record = apps.function_record(owner, spec(), 1, {})
    assert isinstance(record, FunctionRecord)
    assert (record.app_id, record.app_name, record.ws) == ("ap-1", "census", "main")
