"""Identifiers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire import ids


@pytest.mark.parametrize("kind", sorted(ids.KINDS))
def test_new_ids_are_tokens_and_differ(kind: str) -> None:
    """An id starts with its kind, may stand in a subject, and is never given twice."""
    one, two = ids.new_id(kind), ids.new_id(kind)
    assert one != two
    assert one.startswith(f"{kind}-")
    assert ids.is_token(one)


def test_unknown_kind_is_an_error() -> None:
    """Ids are made for known kinds only."""
    with pytest.raises(KeyError):
        ids.new_id("zz")


@given(st.integers(0, 63), st.integers(0, 10**12))
def test_call_id_comes_back(shard: int, number: int) -> None:
    """The parts of a call id come out as they went in."""
    call = ids.CallId(ids.new_session(), shard, number)
    assert ids.parse_call_id(str(call)) == call
    assert ids.is_token(str(call))


@pytest.mark.parametrize(
    "bad", ["", "fc-a-0", "fu-a-0-1", "fc-a-x-1", "fc-a-0-x", "fc-a.b-0-1", "fc--0-1", "fc-a-0-1-2"]
)
def test_bad_call_id_is_an_error(bad: str) -> None:
    """Anything that is no call id is refused with an example of one."""
    with pytest.raises(ValueError, match="expected a call id like"):
        ids.parse_call_id(bad)


@pytest.mark.parametrize(
    ("function_id", "base"),
    [("cs-abc-d1", "cs-abc"), ("fu-abc-d1", "fu-abc"), ("fu-abc", "fu-abc"), ("f", "f")],
)
def test_variants_name_their_base(function_id: str, base: str) -> None:
    """In their ids, so that nobody need ask for it."""
    assert ids.base_id(function_id) == base


def test_input_id_names_call_and_index() -> None:
    """An input's id is its call's with the index behind."""
    assert ids.input_id("fc-s-0-17", 3) == "in-s-0-17-3"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("a.b-c_D9", True),
        ("", False),
        ("a b", False),
        ("x" * 65, False),
        ("ap-aaaaaaaaaaaaaaaa", False),
        ("ü", False),
    ],
)
def test_object_names(name: str, good: bool) -> None:
    """Apps and functions have short plain names that cannot be taken for app ids."""
    assert ids.is_object_name(name) is good


@pytest.mark.parametrize("bad", ["", "a.b", "a b", "*", ">", "a\n", "ü"])
def test_no_tokens(bad: str) -> None:
    """What NATS gives a meaning to cannot be a token."""
    assert not ids.is_token(bad)
