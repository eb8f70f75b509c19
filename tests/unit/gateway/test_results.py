"""Results as JSON: what has a form, and that nothing of the user's runs in the gateway."""

import collections
import datetime as dt
import json
import os
import pickle
from typing import Any

import pytest

from afield.serialization import dumps
from afield_gateway.results import NotJsonError, encode, to_json


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**70), 1.5, "ä\n", [], {"a": {"b": [1]}}, {"1": "one"}, "x" * 300_000]
)
def test_plain_values_come_out_as_they_are(value: Any) -> None:
    """Everything that JSON knows survives the way through the pickle."""
    assert json.loads(to_json(pickle.dumps(value, 5))) == {"result": value}


def test_tuples_become_arrays() -> None:
    """JSON has one kind of sequence."""
    assert json.loads(to_json(pickle.dumps((1, (2,)), 5))) == {"result": [1, [2]]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"x", "a bytes at result"),
        ([1, {2}], "a set at result[1]"),
        ({"a": [float("nan")]}, "the float nan at result['a'][0]"),
        ({(1, 2): 3}, "a dict key of type tuple at result"),
        ("\ud800", "a str that is not Unicode text at result"),
        (dt.date(2026, 1, 1), "a datetime.date"),
        (collections.OrderedDict(a=1), "a collections.OrderedDict"),
        (1j, "a complex"),
    ],
)
def test_what_json_cannot_say_is_named(value: Any, said: str) -> None:
    """The error tells the type at fault, and where it stands."""
    with pytest.raises(NotJsonError, match="expected a result of dict, list") as caught:
        to_json(pickle.dumps(value, 5))

    assert said in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle ends in an error, not in endless recursion."""
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(NotJsonError, match="contains itself"):
        encode(loop)


def test_no_code_of_a_user_runs_in_the_gateway(tmp_path: Any) -> None:
    """A pickle that would run a command is refused by the name of what it asked for."""
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    with pytest.raises(NotJsonError, match="mkdir"):
        to_json(pickle.dumps(Evil(), 5))

    assert not mark.exists()


def test_large_arrays_are_binary_data() -> None:
    """The layout for values with buffers of their own is recognised and refused."""
    buffers = dumps([bytearray(200_000)])

    with pytest.raises(NotJsonError, match=r"binary data|a bytearray at result\[0\]"):
        to_json(buffers.join())


def test_what_is_no_pickle_is_refused() -> None:
    """Broken bytes are an error of ours, with their reason."""
    with pytest.raises(NotJsonError, match="not a pickle"):
        to_json(b"\x80\x05")
