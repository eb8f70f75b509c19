"""When a failed input is tried again, and what the errors say that the worker itself finds. Pure."""

from typing import Final, NamedTuple

from afield._wire.functions import FunctionSpec, RetryPolicy
from afield._wire.messages import Attempt, ErrorInfo, ErrorKind

RETRIED: Final[frozenset[ErrorKind]] = frozenset({"exception", "exit", "timeout"})
"""What the user's code did costs an attempt; what the platform did costs none; the rest would not change."""

LONGEST_LINE: Final = 300
"""Characters of an earlier attempt's error that are kept."""

LONGEST_DELAY_S: Final = 60.0
"""The longest delay before an attempt that users may ask for."""


class Exit(NamedTuple):
    """How a container ended, as far as anybody outside can see."""

    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    log_tail: tuple[str, ...] = ()
    """The last lines that it wrote."""
    reason: str = "ended"
    """A clause that says how: `was killed by SIGSEGV (signal 11)`."""
    platform: bool = False
    """Whether it is the platform's doing: such an end is never blamed on the user's code."""


def retry_delay(policy: RetryPolicy, attempt: int) -> float | None:
    """Return the seconds to wait before the attempt that follows `attempt`, or None when there is none."""
    if attempt > policy.max_retries:
        return None
    return min(policy.initial_delay * policy.backoff_coefficient ** (attempt - 1), policy.max_delay)


def longest_wait(policy: RetryPolicy) -> float:
    """Return the seconds that an attempt waits at most, whatever the clocks of two hosts, or one set anew, make of it."""
    return max(policy.max_delay, LONGEST_DELAY_S)


def past(number: int, error: ErrorInfo, at: float) -> Attempt:
    """Return how an attempt ended that was not the last one; `at` is Unix time."""
    text = error.message.strip().partition("\n")[0]
    if error.kind in ("exception", "exit"):
        name = error.type_name.rpartition(".")[2]
        text = f"{name}: {text}" if name and text else name or text
    if len(text) > LONGEST_LINE:
        text = text[: LONGEST_LINE - 1] + "…"
    return Attempt(number=number, kind=error.kind, message=text, at=at, container_id=error.container_id)


def timeout_error(spec: FunctionSpec, container_id: str, log_tail: tuple[str, ...] = ()) -> ErrorInfo:
    """The input ran for longer than its function allows."""
    return ErrorInfo(
        kind="timeout",
        message=f"{spec.name} ran for longer than its timeout of {spec.timeout:g} s",
        container_id=container_id,
        log_tail=log_tail,
    )


def memory_error(spec: FunctionSpec, container_id: str, end: Exit) -> ErrorInfo:
    """The container was killed for the memory that it took; `reason` says how much that was."""
    return _of_end(
        "memory", f"the container of {spec.name} ran out of memory: it {end.reason}", container_id, end
    )


def lost_error(spec: FunctionSpec, container_id: str, end: Exit, losses: int) -> ErrorInfo:
    """The input took its container with it too often."""
    times = "once" if losses == 1 else f"{losses} times"
    message = f"the container of {spec.name} {end.reason} while it ran this input; it was lost {times}"
    return _of_end("lost", message, container_id, end)


def worker_lost_error(spec: FunctionSpec, losses: int) -> ErrorInfo:
    """The input was lost with its worker too often."""
    message = f"the workers that ran this input of {spec.name} died with it; it was lost {losses} times"
    return ErrorInfo(kind="lost", message=message)


def lost_generator_error(spec: FunctionSpec, container_id: str) -> ErrorInfo:
    """Another run of the generator was lost after some of its values were stored."""
    return ErrorInfo(
        kind="lost",
        message=f"the container that ran the generator {spec.name} was lost after it had yielded values",
        container_id=container_id,
    )


def startup_error(spec: FunctionSpec, container_id: str, end: Exit) -> ErrorInfo:
    """The container ended before its code was loaded."""
    if end.oom:
        return memory_error(spec, container_id, end)
    message = f"the container of {spec.name} {end.reason} before its code was loaded"
    return _of_end("startup", message, container_id, end)


def slow_start_error(spec: FunctionSpec, container_id: str, log_tail: tuple[str, ...]) -> ErrorInfo:
    """The container was not ready in time."""
    return ErrorInfo(
        kind="startup",
        message=f"the container of {spec.name} was not ready within its startup timeout of {spec.startup_timeout:g} s",
        container_id=container_id,
        log_tail=log_tail,
    )


def _of_end(kind: ErrorKind, message: str, container_id: str, end: Exit) -> ErrorInfo:
    return ErrorInfo(
        kind=kind,
        message=message,
        exit_code=end.exit_code,
        signal=end.signal,
        container_id=container_id,
        log_tail=end.log_tail,
    )
