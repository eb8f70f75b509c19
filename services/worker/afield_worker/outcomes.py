"""What becomes of the inputs of a pack when one fails, or when their container ends. Pure."""

from typing import Final

from afield._wire.functions import FunctionSpec
from afield._wire.messages import ErrorInfo, InputResult
from afield._wire.streams import MAX_LOSSES
from afield_worker import attempts
from afield_worker.attempts import Exit
from afield_worker.container import Container
from afield_worker.held import Held

_MISFIRE: Final = 0.5
"""An input that ran for less than this part of its timeout was hit by an interrupt meant for the one before it."""

CERTAIN_LOSSES: Final = 2
"""Losses that are certain, of MAX_LOSSES, before an input ends: the others may be deliveries that came back unharmed."""


def reported(spec: FunctionSpec, held: Held, result: InputResult) -> bool:
    """The guest said how an input ended. False when it was ended for another to run it: it goes back."""
    status = result.status
    if status == "error" and result.error is not None:
        failed(spec, held, result, result.error)
    elif status == "ok":
        held.succeed(result)
    elif status == "cancelled":
        if held.verdict != "return" or result.index in held.cancelled:
            held.cancel(result.index)
        elif held.size > 1:
            held.move(result.index)
        else:
            return False
    else:
        message = f"the container said {status!r} of an input, expected ok, error or cancelled"
        held.fail(result.index, ErrorInfo(kind="internal", message=message, container_id=held.container_id))
    return True


def failed(spec: FunctionSpec, held: Held, result: InputResult, error: ErrorInfo) -> None:
    """An input ended in an error: it moves on to its next attempt, or the error stands."""
    index = result.index
    if index in held.cancelled:
        if error.kind in ("timeout", "cancelled"):
            held.cancel(index)
        else:
            held.fail(index, error, result.run_s)
    elif error.kind == "timeout" and held.size > 1 and result.run_s < _MISFIRE * spec.timeout:
        held.move(index)
    elif error.kind in attempts.RETRIED and not held.chunks:
        delay = attempts.retry_delay(spec.retries, held.pack.attempt)
        if delay is None:
            held.fail(index, error, result.run_s)
        else:
            held.retry(index, error, delay)
    else:
        held.fail(index, error, result.run_s)


def container_lost(container: Container, held: Held, end: Exit, *, beside: int = 0) -> bool:
    """A container ended while it ran a pack, and `beside` others. Tell whether this counts as a loss of what is left.

    What has no end afterwards is a pack of one that goes back.
    """
    spec = container.function.record.spec
    end_cancelled(held)
    if not held.remaining:
        return False
    if held.verdict == "timeout" and held.begun:
        _timed_out(spec, container, held, end)
    elif held.chunks:
        held.fail(held.pack.first, attempts.lost_error(spec, container.id, end, held.losses + 1))
    elif held.verdict != "timeout" and _was_ended(container, held, end):
        _move_rest(held)
        return end.platform and not container.killed
    else:
        _blame(spec, container, held, end, alone=held.size == 1 and not beside)
        return True
    return False


def workers_lost(spec: FunctionSpec, held: Held) -> None:
    """A pack came again. If workers died that ran it, each of its inputs goes on by itself, until one was lost too often.

    A single death may have been anybody's fault.
    """
    if held.deaths < CERTAIN_LOSSES:
        return
    if held.losses >= MAX_LOSSES:
        for index in held.unfinished():
            held.fail(index, attempts.worker_lost_error(spec, held.losses))
    else:
        _move_rest(held)


def end_cancelled(held: Held) -> None:
    """End the inputs that were cancelled."""
    if held.cancelled:
        for index in held.unfinished():
            if index in held.cancelled:
                held.cancel(index)


def _was_ended(container: Container, held: Held, end: Exit) -> bool:
    """Tell whether the container ended for reasons that have nothing to do with this pack.

    One that stops in good order may have packs that it has not begun.
    """
    stopped = container.verdict == "stop" and end.exit_code == 0
    return bool(held.verdict) or container.killed or end.platform or stopped


def _timed_out(spec: FunctionSpec, container: Container, held: Held, end: Exit) -> None:
    """What hangs is the one input that has no end; if there are several, each runs again, alone.

    The guest gathers the results of quick inputs before it sends them, so that a pack of many does not tell.
    """
    left = held.unfinished()
    if len(left) > 1:
        _move_rest(held)
        return
    error = attempts.timeout_error(spec, container.id, end.log_tail)
    # It ran for its whole timeout, whatever the clock of the pack says.
    failed(spec, held, InputResult(index=left[0], status="error", run_s=spec.timeout), error)


def _move_rest(held: Held) -> None:
    """What is left goes on as packs of one; what is one already is sent back by the pool."""
    if held.size > 1:
        for index in held.unfinished():
            held.move(index)


def _blame(spec: FunctionSpec, container: Container, held: Held, end: Exit, *, alone: bool) -> None:
    """User code may have ended the container: count the loss, and end what was lost too often.

    `alone`: there is only one input that it can have been.
    """
    losses = held.losses + 1
    over = losses >= MAX_LOSSES and held.certain_losses + 1 >= CERTAIN_LOSSES
    for index in held.unfinished():
        if end.oom and (alone or over):
            held.fail(index, attempts.memory_error(spec, container.id, end))
        elif over:
            held.fail(index, attempts.lost_error(spec, container.id, end, losses))
        elif held.size > 1:
            held.move(index, lost=True)
