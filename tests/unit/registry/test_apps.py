"""afield_registry.apps: records to records."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.api import ScaleFunction
from afield._wire.functions import FunctionRecord, FunctionSpec, MethodSpec, Scaling
from afield_common.errors import RefusedError
from afield_registry import apps
from support.records import NOW, app, spec


def numbered() -> Callable[[str], str]:
    """Ids in order: fu-1, cs-2, ..."""
    numbers = count(1)
    return lambda kind: f"{kind}-{next(numbers)}"


def specs(*names: str) -> list[FunctionSpec]:
    return [spec(name) for name in names]


def test_function_ids_are_stable() -> None:
    """A name that is published again keeps its id, a new one gets the next."""
    new_id = numbered()
    first = apps.with_functions(app(), specs("f", "g"), new_id)
    second = apps.with_functions(first, specs("g", "h"), new_id)
    assert second.functions == {"f": "fu-1", "g": "fu-2", "h": "fu-3"}


def test_classes_have_ids_of_their_own_kind() -> None:
    """A spec with methods is a class."""
    owner = apps.with_functions(app(), [spec("f"), spec("C", methods={"m": MethodSpec()})], numbered())
    assert owner.functions == {"f": "fu-1", "C": "cs-2"}


def test_app_has_a_bounded_number_of_functions() -> None:
    """However many requests they come in."""
    many = apps.with_functions(app(), specs(*(f"f{n}" for n in range(apps.MAX_FUNCTIONS))), numbered())
    assert apps.with_functions(many, specs("f0"), numbered()) == many
    with pytest.raises(RefusedError, match="1001") as caught:
        apps.with_functions(many, specs("one-more"), numbered())
    assert caught.value.code == "exhausted"


def test_equal_publish_changes_nothing() -> None:
    """The same request again yields equal records."""
    first = apps.with_functions(app(), specs("f"), numbered())
    record = apps.function_record(first, spec(), 4, {})
    assert apps.with_functions(first, specs("f"), numbered()) == first
    assert apps.function_record(first, spec(), 8, {"fu-1": record}) == record


def test_other_scaling_is_no_new_version() -> None:
    """Containers of the same code may stay, however many of them there are to be."""
    owner = apps.with_functions(app(), specs("f"), numbered())
    old = apps.function_record(owner, spec(), 1, {})
    new = apps.function_record(owner, spec(scaling=Scaling(min_containers=2)), 1, {"fu-1": old})
    assert (new.version, new.spec.scaling.min_containers) == (1, 2)


def test_scale_changes_what_it_names() -> None:
    """None leaves a setting as it is; publishing the function again undoes it all."""
    owner = apps.with_functions(app(), specs("f"), numbered())
    old = apps.function_record(owner, spec(scaling=Scaling(min_containers=1, max_containers=4)), 1, {})
    request = ScaleFunction(ws="main", function_id="fu-1", min_containers=0, buffer_containers=2)
    scaled = apps.scaled(old, request)
    assert scaled.spec.scaling == Scaling(min_containers=0, max_containers=4, buffer_containers=2)
    assert scaled.version == old.version
    assert apps.function_record(owner, old.spec, 1, {"fu-1": scaled}) == old


def test_changed_function_is_a_new_version_on_its_shard() -> None:
    """New code is the next version; inputs that wait stay where they are, whatever the number of shards is now."""
    owner = apps.with_functions(app(), specs("f"), numbered())
    old = apps.function_record(owner, spec(), 1, {})
    new = apps.function_record(owner, spec(timeout=5.0), 64, {"fu-1": old})
    assert (new.version, new.shard, new.spec.timeout) == (2, 0, 5.0)


@pytest.mark.parametrize(
    ("place", "scaling", "asleep"),
    [
        (apps.MOST_AWAKE - 1, Scaling(), False),
        (apps.MOST_AWAKE, Scaling(), True),
        (apps.MOST_AWAKE, Scaling(min_containers=1), False),
    ],
)
def test_only_so_many_functions_have_consumers_before_they_are_called(
    place: int, scaling: Scaling, asleep: bool
) -> None:
    """Each of them costs the server time; those whose containers pull before any call need them."""
    owner = apps.with_functions(app(), specs("f"), numbered())
    assert apps.function_record(owner, spec(scaling=scaling), 1, {}, place).asleep == asleep


def test_stopped_app_takes_no_functions() -> None:
    """Publishing to a stopped app is refused."""
    over = apps.stopped(app(), "stop", "done", NOW)
    with pytest.raises(RefusedError, match="stopped"):
        apps.with_functions(over, specs("f"), numbered())


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
    owner = apps.with_functions(app(name="census"), specs("f"), numbered())
    record = apps.function_record(owner, spec(), 1, {})
    assert isinstance(record, FunctionRecord)
    assert (record.app_id, record.app_name, record.ws) == ("ap-1", "census", "main")
