"""FunctionCall without a platform."""

import pickle

import pytest

from afield import FunctionCall
from afield.exception import InvalidError, UnimplementedError


def test_from_id_does_no_io() -> None:
    """A handle is made from an id alone."""
    call = FunctionCall.from_id("fc-abc-0-17")

    assert (call.object_id, repr(call)) == ("fc-abc-0-17", "FunctionCall('fc-abc-0-17')")


@pytest.mark.anyio
async def test_from_id_has_an_asynchronous_form() -> None:
    """For symmetry with everything else."""
    assert (await FunctionCall.from_id.aio("fc-abc-0-17")).object_id == "fc-abc-0-17"


@pytest.mark.parametrize("call_id", ["", "fc-1", "in-abc-0-1-2", "fc-a.b-0-1", "fc-abc-x-1"])
def test_other_ids_are_refused(call_id: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(InvalidError, match="call id"):
        FunctionCall.from_id(call_id)


def test_handles_travel() -> None:
    """A call can be handed to another process."""
    assert pickle.loads(pickle.dumps(FunctionCall("fc-abc-0-17"))).object_id == "fc-abc-0-17"


def test_what_is_missing_says_so() -> None:
    """Each missing part names itself."""
    with pytest.raises(UnimplementedError, match="call_graph"):
        FunctionCall("fc-abc-0-17").get_call_graph()
    with pytest.raises(UnimplementedError, match="client"):
        FunctionCall.from_id("fc-abc-0-17", client=object())


def test_gather_refuses_what_is_no_call() -> None:
    """A list is the usual mistake, and the message says how to write it."""
    with pytest.raises(InvalidError, match=r"gather\(\*calls\)"):
        FunctionCall.gather([])  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match=r"expected FunctionCalls.*got 3"):
        FunctionCall.gather(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", ["x", -1, float("nan"), True])
def test_get_refuses_a_timeout_that_makes_no_sense(timeout: float) -> None:
    """Before anything is asked of a platform."""
    call: FunctionCall[int] = FunctionCall("fc-abc-0-17")
    with pytest.raises(InvalidError, match="expected timeout to be seconds"):
        call.get(timeout=timeout)
