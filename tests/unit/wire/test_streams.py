"""Streams, buckets and consumers as declared."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire import streams, subjects


def test_names_are_unique() -> None:
    """No two assets share a name."""
    names = [spec.name for spec in streams.assets(4)]
    assert len(set(names)) == len(names)


def test_subjects_do_not_overlap() -> None:
    """No two streams take the same subject (the server would refuse the second)."""
    taken = [s.removesuffix(">") for spec in streams.assets(4) for s in spec.subjects]
    for one, two in itertools.permutations(taken, 2):
        assert not one.startswith(two)


@pytest.mark.parametrize("shards", [0, 65])
def test_number_of_shards_is_bounded(shards: int) -> None:
    """There are 1 to 64 shards."""
    with pytest.raises(ValueError, match="1 to 64"):
        streams.assets(shards)


def reserved(storage: int = streams.STORAGE_WANTED) -> dict[str, int]:
    """What streams with a bound, other than inputs, reserve on a server with so many bytes."""
    found = {spec.name: spec.config.get("max_bytes", 0) for spec in streams.assets(1, storage)}
    return {name: size for name, size in found.items() if size and name != "IN_0"}


@pytest.mark.parametrize("storage", [2**50, 50 * 2**30])
def test_a_large_disk_gives_what_is_wanted(storage: int) -> None:
    """25 GiB, where that is half of the disk or less."""
    assert sum(reserved(storage).values()) == 25 * 2**30


@given(st.integers(4 * 2**30, 2**41))
def test_reservations_leave_half_of_a_disk(storage: int) -> None:
    """Inputs and results have the other half; every stream with a bound keeps its share, and its least."""
    sizes = reserved(storage)
    assert sum(sizes.values()) <= storage / 2
    whole = reserved()
    assert sizes.keys() == whole.keys()
    assert all(streams.LEAST_BYTES[name] <= size <= whole[name] for name, size in sizes.items())


def test_a_tiny_disk_gives_the_least() -> None:
    """Below that a stream would be of no use."""
    assert reserved(1) == reserved(streams.LEAST_STORAGE) == streams.LEAST_BYTES


def test_queues_and_results_keep_the_first() -> None:
    """Inputs and results are unique by subject, the first one stays, and the window tells repeats from rivals."""
    for spec in (streams.input_stream(0), streams.RESULTS):
        assert spec.config["max_msgs_per_subject"] == 1
        assert spec.config["discard"] == "new"
        assert spec.config["discard_new_per_subject"] is True
        assert spec.config["duplicate_window"] == 120 * 10**9


@given(st.integers(4 * 2**30, 2**41), st.integers(1, 64))
def test_inputs_leave_room_for_results(storage: int, shards: int) -> None:
    """All input streams together take a quarter of the storage at most, or nothing could ever leave them."""
    sizes = [s.config["max_bytes"] for s in streams.assets(shards, storage) if s.name.startswith("IN_")]
    assert len(sizes) == shards
    assert 0 < sum(sizes) <= storage / 4


def test_queue_keeps_inputs_when_it_is_full() -> None:
    """An input stream has no limit that would delete old inputs in silence: it refuses new ones."""
    config = streams.input_stream(0, max_bytes=100).config
    assert config["discard"] == "new"
    assert config["max_consumers"] > 1000


def test_leases_leave_no_markers() -> None:
    """The lease bucket has times to live and no limit markers, which would block the next holder."""
    assert streams.LEASE.config["allow_msg_ttl"] is True
    assert "subject_delete_marker_ttl" not in streams.LEASE.config


def test_heartbeats_keep_one_value() -> None:
    """The bucket with markers keeps one value a key; with more, the server would raise every time to live."""
    assert streams.WORKERS.config["max_msgs_per_subject"] == 1
    assert streams.WORKERS.config["subject_delete_marker_ttl"] > 0


def test_consumer_matches_the_subjects_of_its_lane() -> None:
    """A function's consumer is named and filtered by the functions that everybody uses."""
    config = streams.consumer_config("main", "fu-1", 3, "hi")
    assert config["durable_name"] == subjects.input_consumer("main", "fu-1", "hi")
    assert config["filter_subject"] == subjects.inputs_of_function(3, "main", "fu-1", "hi")
    assert (config["max_deliver"], config["max_ack_pending"]) == (-1, -1)


def test_replicas_are_of_everything() -> None:
    """A stream with several copies cannot be written to disk later than it says; all else stays as it is."""
    for one, three in zip(streams.assets(2), streams.assets(2, replicas=3), strict=True):
        assert (one.name, one.subjects) == (three.name, three.subjects)
        assert "num_replicas" not in one.config
        assert three.config == {k: v for k, v in one.config.items() if k != "persist_mode"} | {
            "num_replicas": 3
        }


@pytest.mark.parametrize("replicas", [0, 2, 4, 7])
def test_an_odd_number_of_replicas_survives_more(replicas: int) -> None:
    """Two survive no more than one does."""
    with pytest.raises(ValueError, match="expected 1, 3 or 5 replicas"):
        streams.assets(1, replicas=replicas)
