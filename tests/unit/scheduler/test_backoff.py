"""afield_scheduler.backoff: a broken function does not loop, a poison input is not waited for."""

from hypothesis import given
from hypothesis import strategies as st

from afield._wire.messages import ErrorInfo
from afield_scheduler.backoff import FIRST_S, FORGET_S, FREE_CRASHES, LONGEST_S, Backoff


def delays(failures: int, *, was_ready: bool, inputs: bool) -> list[float]:
    backoff, now, found = Backoff(), 100.0, []
    for _ in range(failures):
        backoff.failed("f", was_ready=was_ready, now=now)
        found.append(backoff.ready_at("f", now, inputs=inputs) - now)
        now += found[-1]
    return found


def test_failing_starts_wait_longer_and_longer() -> None:
    """0.5 s, doubling, up to a minute."""
    assert delays(9, was_ready=False, inputs=True) == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_inputs_never_wait_for_crashes_of_ready_containers() -> None:
    """Each input that kills its containers is given up after 8, so there is nothing to bound here."""
    assert delays(20 * 8, was_ready=True, inputs=True) == [0.0] * 160


def test_crashes_without_inputs_are_free_at_first() -> None:
    """Containers that die while nobody has inputs for them would otherwise be started for ever."""
    waits = delays(FREE_CRASHES + 2, was_ready=True, inputs=False)
    assert waits[:FREE_CRASHES] == [0.0] * FREE_CRASHES
    assert waits[FREE_CRASHES:] == [FIRST_S, 2 * FIRST_S]


def test_a_ready_container_ends_the_trouble_with_starting() -> None:
    """Once a container was ready, earlier failures to start count no more."""
    backoff = Backoff()
    for _ in range(5):
        backoff.failed("f", was_ready=False, now=0.0)
    backoff.failed("f", was_ready=True, now=1.0)
    assert backoff.ready_at("f", 1.0, inputs=True) == 1.0


def test_trouble_is_forgotten() -> None:
    """After a few quiet minutes, or with new code, a function starts afresh; others were never concerned."""
    backoff = Backoff()
    backoff.failed("f", was_ready=False, now=0.0)
    assert backoff.ready_at("g", 0.1, inputs=True) == 0.1
    assert backoff.ready_at("f", 0.1, inputs=True) == FIRST_S
    assert backoff.ready_at("f", FORGET_S + 1, inputs=True) == FORGET_S + 1
    backoff.forget("f")
    assert backoff.ready_at("f", 0.1, inputs=True) == 0.1


ERROR = ErrorInfo(kind="startup", message="no such module")


def hopes(*failures: ErrorInfo | None) -> list[bool]:
    """Whether there is hope after each of these failed starts, at once one after the other."""
    backoff, found = Backoff(), []
    for error in failures:
        backoff.failed("f", was_ready=False, now=0.0, error=error)
        found.append(backoff.hopeless("f", 0.0) is None)
    return found


def test_three_failing_starts_in_a_row_are_hopeless() -> None:
    """When the function's own code is to blame, and from then on at each further one."""
    assert hopes(ERROR, ERROR, ERROR, ERROR) == [True, True, False, False]


def test_faults_of_the_platform_say_nothing_of_a_function() -> None:
    """They neither count nor begin the count anew."""
    assert hopes(None, None, None, None) == [True] * 4
    assert hopes(ERROR, None, ERROR, None, ERROR) == [True, True, True, True, False]


def test_a_container_that_is_ready_gives_hope() -> None:
    """The count begins anew, and the next one need not wait; what it said is forgotten."""
    backoff = Backoff()
    for _ in range(3):
        backoff.failed("f", was_ready=False, now=0.0, error=ERROR)
    assert backoff.failing("f", 0.0)
    assert backoff.error("f", 0.0) == backoff.hopeless("f", 0.0) == ERROR
    backoff.ready("f")
    assert not backoff.failing("f", 0.0)
    assert backoff.error("f", 0.0) is None
    assert backoff.ready_at("f", 0.0, inputs=True) == 0.0
    backoff.failed("f", was_ready=False, now=1.0, error=ERROR)
    assert backoff.hopeless("f", 1.0) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 50)), max_size=60))
def test_waits_are_bounded(history: list[tuple[bool, float]]) -> None:
    """Whatever happens, no function waits longer than the longest wait."""
    backoff, now = Backoff(), 0.0
    for was_ready, pause in history:
        now += pause
        backoff.failed("f", was_ready=was_ready, now=now)
        for inputs in (True, False):
            assert now <= backoff.ready_at("f", now, inputs=inputs) <= now + LONGEST_S
