"""What goes wrong over there is told here, truly and usefully."""

import signal
import traceback
from pathlib import Path
from types import ModuleType

import pytest

from afield.exception import Error, FunctionTimeoutError


def test_original_type(fleet: ModuleType) -> None:
    """An exception comes back as itself, with the remote frames in its traceback."""
    with pytest.raises(ValueError, match="bad news") as caught:
        fleet.fail_plain.remote("bad news")

    text = "".join(traceback.format_exception(caught.value))
    assert "raise ValueError(text)" in text
    assert "fail_plain" in text


@pytest.mark.parametrize("function", ["square", "async_square", "count_up", "async_count_up"])
def test_wrong_arguments(fleet: ModuleType, function: str) -> None:
    """Python's own complaint, at the line of the call: no line of ours, here or there, says more."""
    called = getattr(fleet, function)
    with pytest.raises(TypeError, match=rf"{function}\(\) missing 1 required positional argument") as caught:
        list(called.remote_gen()) if "count" in function else called.remote()

    assert {entry.path for entry in caught.traceback} == {Path(__file__)}


def test_attributes(fleet: ModuleType) -> None:
    """An exception of the user's own class keeps its attributes."""
    with pytest.raises(fleet.OddError) as caught:
        fleet.fail_odd.remote()

    assert (caught.value.code, caught.value.hint) == (7, "try even")


def test_cause(fleet: ModuleType) -> None:
    """The chain of causes is kept."""
    with pytest.raises(RuntimeError, match="outer") as caught:
        fleet.fail_chained.remote()

    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("function", "culprit"), [("fail_stubborn", "StubbornError"), ("fail_locked", "guard")]
)
def test_exception_that_cannot_travel(fleet: ModuleType, function: str, culprit: str) -> None:
    """An exception that cannot be pickled or read back is described in full."""
    with pytest.raises(Error, match=culprit) as caught:
        getattr(fleet, function).remote()

    assert f"in {function}" in str(caught.value) or f"in {function}" in "".join(
        traceback.format_exception(caught.value)
    )


def test_result_that_cannot_travel(fleet: ModuleType) -> None:
    """A result that cannot be pickled names the element at fault."""
    with pytest.raises(Error, match="lock"):
        fleet.return_lock.remote()


def test_sys_exit(fleet: ModuleType) -> None:
    """sys.exit ends the input, not the caller, and tells the code."""
    with pytest.raises(Error, match=r"exit.*3"):
        fleet.call_sys_exit.remote(3)


def test_os_exit(fleet: ModuleType) -> None:
    """A container that vanishes is reported with its exit code and last words."""
    with pytest.raises(Error, match="exit code 7") as caught:
        fleet.call_os_exit.remote(7)

    assert "last words before the end" in str(caught.value)


def test_signal(fleet: ModuleType) -> None:
    """A container that dies by a signal is reported with the signal's name."""
    with pytest.raises(Error, match="SIGSEGV"):
        fleet.segfault.remote()
    with pytest.raises(Error, match="SIGKILL"):
        fleet.die_by_signal.remote(signal.SIGKILL)


def test_out_of_memory(fleet: ModuleType) -> None:
    """A container that outgrows its limit is killed, and the error says so with peak and limit."""
    with pytest.raises(Error, match="192") as caught:
        fleet.eat_memory.remote(2000)

    assert "memory" in str(caught.value)


def test_pool_recovers(fleet: ModuleType) -> None:
    """After every kind of death the function works again."""
    with pytest.raises(Error):
        fleet.divert.remote(13)

    assert fleet.divert.remote(1) == 1


def test_crashes_hold_nobody_up(fleet: ModuleType) -> None:
    """However many inputs killed their containers, neither the next of them nor its neighbours wait for it."""
    for x in range(20):
        with pytest.raises(Error, match="lost 8 times"):
            fleet.divert.spawn(13).get(timeout=20)
        assert fleet.divert.spawn(x + 100).get(timeout=20) == x + 100


def test_other_inputs_are_not_harmed(fleet: ModuleType) -> None:
    """One input that kills its container again and again spoils no other."""
    results = list(fleet.divert.map(range(40), return_exceptions=True))

    assert isinstance(results[13], Error)
    assert [r for i, r in enumerate(results) if i != 13] == [i for i in range(40) if i != 13]


def test_timeout(fleet: ModuleType) -> None:
    """An input over its time ends in an error that is also the built-in one."""
    with pytest.raises(FunctionTimeoutError) as caught:
        fleet.too_slow.remote()

    assert isinstance(caught.value, TimeoutError)


def test_unpicklable_argument(fleet: ModuleType) -> None:
    """Arguments that cannot travel are refused before anything is sent, with the place named."""
    import threading

    with pytest.raises(Error, match="lock"):
        fleet.square.remote({"a": threading.Lock()})
