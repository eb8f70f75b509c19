"""Subjects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire import subjects
from afield._wire.subjects import InputSubject, Pack, parse_input, parse_pack, parse_result

CALL = "fc-sess-2-17"
packs = st.builds(Pack, st.integers(0, 10**9), st.integers(1, 64))


def matches(pattern: str, subject: str) -> bool:
    """Tell whether NATS would deliver `subject` to a subscription of `pattern`."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        given = [*given[: len(wanted) - 1], ">"] if len(given) >= len(wanted) else given
    return len(wanted) == len(given) and all(w in ("*", ">", g) for w, g in zip(wanted, given, strict=True))


@given(packs, st.integers(1, 9), st.sampled_from(subjects.LANES))
def test_input_subject_comes_back(pack: Pack, attempt: int, lane: subjects.Lane) -> None:
    """An input's subject splits into the parts it was made of, and its filters match it."""
    made = InputSubject(2, "main", "fu-1", lane, CALL, pack, attempt)
    assert parse_input(str(made)) == made
    assert matches(subjects.inputs_of_function(2, "main", "fu-1"), str(made))
    assert matches(subjects.inputs_of_function(2, "main", "fu-1", lane), str(made))
    assert matches(subjects.inputs_of_call("main", CALL), str(made))


def test_lanes_are_disjoint() -> None:
    """The filter of one lane does not match the other's inputs (a work queue refuses overlaps)."""
    made = str(InputSubject(0, "main", "fu-1", "hi", CALL, Pack(0, 1), 1))
    assert not matches(subjects.inputs_of_function(0, "main", "fu-1", "lo"), made)


@given(packs)
def test_result_subject_comes_back(pack: Pack) -> None:
    """A result's subject, published or stored, splits into its parts, and its filters match it."""
    made = subjects.result("main", CALL, pack)
    stored = "res" + made.removeprefix("out")
    for each in (made, stored):
        assert parse_result(each) == ("main", CALL, pack, None)
    assert matches(subjects.results_of_call("main", CALL), made)
    assert matches(subjects.stored_results_of_call("main", CALL), stored)
    assert matches(subjects.stored_results_of_session("main", "sess"), stored)


def test_chunk_subject_comes_back() -> None:
    """A generator's chunk is told from a result."""
    assert parse_result(subjects.chunk("main", CALL, 5)) == ("main", CALL, None, 5)


@pytest.mark.parametrize("bad", ["", "1", "-1", "1-", "1-0", "a-1", "1-2-3"])
def test_bad_pack_is_an_error(bad: str) -> None:
    """Anything that is no pack token is refused with an example of one."""
    with pytest.raises(ValueError, match="expected a pack token like"):
        parse_pack(bad)


@pytest.mark.parametrize("bad", ["", "in.0.main", "out.0.main.fu.hi.fc.0-1.1", "in.0.main.fu.mid.fc.0-1.1"])
def test_bad_input_subject_is_an_error(bad: str) -> None:
    """Another subject is refused."""
    with pytest.raises(ValueError, match="expected in"):
        parse_input(bad)


@pytest.mark.parametrize("bad", ["", "out.0.main", "in.0.main.s.fc.0-1", "out.0.main.s.fc.gx"])
def test_bad_result_subject_is_an_error(bad: str) -> None:
    """Another subject is refused."""
    with pytest.raises(ValueError, match="expected"):
        parse_result(bad)


def test_pack_knows_its_indices() -> None:
    """A pack covers its first index and as many as it says."""
    assert list(Pack(3, 4).indices) == [3, 4, 5, 6]
