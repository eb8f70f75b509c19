"""When there is a next attempt, and what errors say."""

from typing import Any

import pytest

from afield._wire.functions import RetryPolicy
from afield._wire.messages import ErrorInfo
from afield_worker import attempts
from afield_worker.attempts import Exit
from support.pool import record

SPEC = record(timeout=2.5, startup_timeout=4.0).spec


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5, 5.0), (6, None)])
def test_the_delay_grows_up_to_its_limit(attempt: int, delay: float | None) -> None:
    """Five retries follow the first attempt."""
    policy = RetryPolicy(max_retries=5, initial_delay=1.0, backoff_coefficient=2.0, max_delay=5.0)
    assert attempts.retry_delay(policy, attempt) == delay


def test_no_policy_means_no_retry() -> None:
    """The default."""
    assert attempts.retry_delay(RetryPolicy(), 1) is None


def test_a_timeout_names_its_limit() -> None:
    """In seconds."""
    assert "its timeout of 2.5 s" in attempts.timeout_error(SPEC, "ta-1").message


def test_a_loss_carries_what_is_known_of_the_end() -> None:
    """Exit code, signal, last lines and the container."""
    end = Exit(signal=11, reason="was killed by SIGSEGV (signal 11)", log_tail=("last",))
    error = attempts.lost_error(SPEC, "ta-1", end, 8)
    assert (error.kind, error.signal, error.log_tail, error.container_id) == ("lost", 11, ("last",), "ta-1")
    assert "was killed by SIGSEGV (signal 11) while it ran this input; it was lost 8 times" in error.message


def test_running_out_of_memory_while_loading_is_a_memory_error() -> None:
    """It is told apart from other failed starts."""
    assert attempts.startup_error(SPEC, "ta-1", Exit(oom=True, reason="took 300 MiB")).kind == "memory"
    assert attempts.startup_error(SPEC, "ta-1", Exit(exit_code=1)).kind == "startup"


def test_a_slow_start_names_its_limit() -> None:
    """In seconds."""
    assert "startup timeout of 4 s" in attempts.slow_start_error(SPEC, "ta-1", ()).message


@pytest.mark.parametrize(
    ("kind", "type_name", "message", "line"),
    [
        ("exception", "ValueError", "no", "ValueError: no"),
        ("exception", "my.app.Oops", "no\nnever", "Oops: no"),
        ("exception", "KeyError", "", "KeyError"),
        ("timeout", "afield.exception.InputCancellation", "f ran too long", "f ran too long"),
        ("exception", "E", "x" * 400, "E: " + "x" * 296 + "…"),
    ],
)
def test_an_earlier_attempt_is_one_line(kind: Any, type_name: str, message: str, line: str) -> None:
    """The type and the text of its error; of a timeout the text only."""
    error = ErrorInfo(kind=kind, message=message, type_name=type_name, container_id="ta-1")
    past = attempts.past(2, error, 5.0)
    assert (past.number, past.kind, past.message, past.at) == (2, kind, line, 5.0)
    assert past.container_id == "ta-1"


def test_no_attempt_waits_longer_than_users_may_ask() -> None:
    """Whatever two clocks make of its time."""
    assert attempts.longest_wait(RetryPolicy(max_delay=5.0)) == 60.0
    assert attempts.longest_wait(RetryPolicy(max_delay=90.0)) == 90.0
