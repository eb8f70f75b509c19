"""A pack that is held."""

import pytest

from afield._wire.messages import InputResult
from afield_worker.held import Held
from afield_worker.states import TransitionError
from support.pool import pack, raised


def held(size: int, *, times: int = 1, losses: int = 0) -> Held:
    """A pack of `size` inputs from 10 on."""
    return Held(1, "in", "lo", pack(10, size, losses=losses), object(), times, 0.0)


def running(size: int) -> Held:
    """The same, begun."""
    one = held(size)
    one.start("ta-1", 1.0)
    return one


def test_the_first_word_on_an_input_stands() -> None:
    """A second result, or one of another pack, changes nothing."""
    one = running(2)
    one.fail(10, raised())
    one.succeed(InputResult(index=10, status="ok", value=b""))
    one.succeed(InputResult(index=99, status="ok", value=b""))
    one.cancel(10)
    assert one.remaining == 1
    assert one.results[10].status == "error"


def test_an_error_says_which_method_ran() -> None:
    """Whoever asks for it may know the id of the call only."""
    one = Held(1, "in", "lo", pack(10, method="m"), object(), 1, 0.0)
    one.start("ta-1", 1.0)
    one.fail(10, raised())
    error = one.results[10].error
    assert error is not None
    assert error.method == "m"


def test_the_outcome_is_in_order() -> None:
    """However the results came."""
    one = running(3)
    for index in (12, 10, 11):
        one.succeed(InputResult(index=index, status="ok", value=b""))
    assert [r.index for r in one.outcome()[0]] == [10, 11, 12]


def test_a_pack_of_one_that_moves_has_no_result() -> None:
    """Its next attempt has the same result subject."""
    one = running(1)
    one.retry(10, raised(), 1.0)
    results, moved = one.outcome()
    assert results == ()
    assert [m.attempt for m in moved] == [2]


def test_a_pack_of_one_does_not_move_in_the_same_attempt() -> None:
    """The message would have the subject that the stream still holds, and be refused as its own twin."""
    with pytest.raises(ValueError, match="send it back"):
        running(1).move(10)


def test_what_has_not_begun_has_no_value() -> None:
    """The table of inputs holds."""
    with pytest.raises(TransitionError, match="a waiting input cannot take the event 'value'"):
        held(1).succeed(InputResult(index=10, status="ok", value=b""))


def test_the_next_attempt_remembers_only_certain_losses() -> None:
    """Deliveries that others sent back look like losses, and are none of its own."""
    one = Held(1, "in", "lo", pack(10, 1, losses=1), object(), 5, 0.0, losses_seen=2)
    one.start("ta-1", 0.0)
    one.retry(10, raised(), 1.0)
    assert one.losses == 5
    assert one.moved[0].losses == 3


def test_losses_are_those_of_before_and_earlier_deliveries() -> None:
    """This delivery is not lost yet."""
    assert held(1, times=3, losses=2).losses == 4


def test_an_end_is_final() -> None:
    """What was sent back cannot be started."""
    one = held(1)
    one.advance("give_back")
    with pytest.raises(TransitionError):
        one.advance("start")
