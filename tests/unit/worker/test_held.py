"""A pack that is held."""

import pytest

from afield._wire.messages import InputResult
from afield_worker.held import Held
from afield_worker.states import TransitionError
from support.pool import pack, raised


def held(size: int, *, times: int = 1, losses: int = 0) -> Held:
    """A pack of `size` inputs from 10 on."""
    return Held(1, "in", "lo", pack(10, size, losses=losses), object(), times, 0.0)


def test_the_first_word_on_an_input_stands() -> None:
    """A second result, or one of another pack, changes nothing."""
    one = held(2)
    one.fail(10, raised())
    one.end(InputResult(index=10, status="ok", value=b""))
    one.end(InputResult(index=99, status="ok", value=b""))
    assert one.remaining == 1
    assert one.results[10].status == "error"


def test_the_outcome_is_in_order() -> None:
    """However the results came."""
    one = held(3)
    for index in (12, 10, 11):
        one.end(InputResult(index=index, status="ok", value=b""))
    assert [r.index for r in one.outcome()[0]] == [10, 11, 12]


def test_a_pack_of_one_that_moves_has_no_result() -> None:
    """Its next attempt has the same result subject."""
    one = held(1)
    one.move(10, attempt=2)
    results, moved = one.outcome()
    assert results == ()
    assert [m.attempt for m in moved] == [2]


def test_losses_are_those_of_before_and_earlier_deliveries() -> None:
    """This delivery is not lost yet."""
    assert held(1, times=3, losses=2).losses == 4


def test_an_end_is_final() -> None:
    """What was sent back cannot be started."""
    one = held(1)
    one.advance("give_back")
    with pytest.raises(TransitionError):
        one.advance("start")
