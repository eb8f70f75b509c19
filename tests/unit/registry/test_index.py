"""afield_registry.index: look-ups, and changes in any order."""

from dataclasses import replace

from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord
from afield_registry import apps
from afield_registry.beats import AppKey
from afield_registry.index import Index
from support.records import NOW, app, spec


def function(app_id: str = "ap-1", function_id: str = "fu-1") -> FunctionRecord:
    owner = replace(app(app_id), functions={"f": function_id})
    return apps.function_record(owner, spec(), 1, {})


def test_latest_running_app_of_a_name() -> None:
    """Of several runs of one name the newest running one is meant."""
    index = Index()
    index.put_app(app("ap-1", at=NOW), 1)
    index.put_app(app("ap-2", at=NOW + 1), 2)
    index.put_app(apps.stopped(app("ap-3", at=NOW + 2), "stop", "", NOW + 3), 3)
    found = index.latest("main", "demo")
    assert found is not None
    assert found.record.app_id == "ap-2"
    assert index.latest("other", "demo") is None


def test_older_revision_is_ignored() -> None:
    """The echo of an earlier write does not undo a later one."""
    index = Index()
    newer = replace(app(), description="newer")
    index.put_app(newer, 7)
    index.apply("app.main.ap-1", encode(app()), 6)
    found = index.app("main", "ap-1")
    assert found is not None
    assert (found.record, found.revision) == (newer, 7)


def test_removed_key_stays_removed() -> None:
    """An old value that comes by late does not bring a key back."""
    index = Index()
    index.put_function(function(), 3)
    index.remove("fn.main.fu-1")
    index.apply("fn.main.fu-1", encode(function()), 3)
    assert index.function("main", "fu-1") is None


def variant(number: int, app_id: str = "ap-1", base_id: str = "fu-1") -> FunctionRecord:
    return replace(function(app_id, f"{base_id}-{number}"), base_id=base_id)


def test_variants_are_found_by_app_and_base() -> None:
    """Until they are removed; the functions as published are none of them."""
    index = Index()
    index.put_function(function(), 1)
    for n in range(3):
        index.put_function(variant(n), 2 + n)
    index.put_function(variant(9, base_id="fu-2"), 9)
    owner = AppKey("main", "ap-1")
    assert [v.function_id for v in index.variants_of(owner, "fu-1")] == ["fu-1-0", "fu-1-1", "fu-1-2"]
    assert index.count_variants(owner) == 4
    assert [base.record.function_id for base in index.bases()] == ["fu-1"]
    for n in range(3):
        index.remove(f"fn.main.fu-1-{n}")
    assert [v.function_id for v in index.variants_of(owner)] == ["fu-2-9"]
    assert index.count_variants(AppKey("main", "ap-2")) == 0


def test_variant_can_be_made_again() -> None:
    """Its id follows from what it is, so a later value brings the key back; an old one does not."""
    index = Index()
    index.put_function(variant(1), 3)
    for _ in range(2):  # our own removal, and the news of it
        index.remove("fn.main.fu-1-1")
    index.apply("fn.main.fu-1-1", encode(variant(1)), 3)
    assert index.function("main", "fu-1-1") is None
    index.apply("fn.main.fu-1-1", encode(variant(1)), 5)
    assert index.function("main", "fu-1-1") is not None


def test_unknown_kinds_are_left_alone() -> None:
    """Keys of a later release do not disturb."""
    index = Index()
    index.apply("secret.main.st-1", b"?", 1)
    assert index.apps() == []


def test_leftovers_are_functions_of_stopped_apps() -> None:
    """What somebody who died did not clean up is found again."""
    index = Index()
    index.put_app(app("ap-1"), 1)
    index.put_function(function("ap-1", "fu-1"), 2)
    index.put_function(function("ap-0", "fu-0"), 3)
    assert [f.function_id for f in index.leftovers()] == ["fu-0"]
    index.put_app(apps.stopped(app("ap-1"), "stop", "", NOW), 4)
    assert [f.function_id for f in index.leftovers()] == ["fu-1", "fu-0"]
    assert [f.function_id for f in index.leftovers(AppKey("main", "ap-0"))] == ["fu-0"]


def test_ephemeral_and_expired() -> None:
    """Only running ephemeral apps need heartbeats; stopped ones expire after a time."""
    index = Index()
    index.put_app(app("ap-1"), 1)
    index.put_app(app("ap-2", state="detached"), 2)
    index.put_app(apps.stopped(app("ap-3"), "stop", "", NOW), 3)
    assert index.ephemeral() == {AppKey("main", "ap-1")}
    assert index.expired(NOW - 1) == []
    assert [a.app_id for a in index.expired(NOW)] == ["ap-3"]


def test_apps_are_listed_newest_first() -> None:
    """A list starts with what was started last."""
    index = Index()
    index.put_app(app("ap-1", at=NOW), 1)
    index.put_app(app("ap-2", at=NOW + 1), 2)
    assert [a.app_id for a in index.apps("main")] == ["ap-2", "ap-1"]
