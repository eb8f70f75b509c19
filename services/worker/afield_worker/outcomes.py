"""What becomes of the inputs of a pack when one fails, or when their container ends. Pure."""

from dataclasses import replace
from typing import Final

from afield._wire.functions import FunctionSpec
from afield._wire.messages import ErrorInfo, InputResult
from afield._wire.streams import MAX_LOSSES
from afield_worker import attempts
from afield_worker.attempts import Exit
from afield_worker.held import Held
from afield_worker.slots import Container

_MISFIRE: Final = 0.5
"""An input that ran for less than this part of its timeout was hit by an interrupt meant for the one before it."""


def failed(spec: FunctionSpec, held: Held, result: InputResult, error: ErrorInfo) -> None:
    """An input ended in an error: it moves on to its next attempt, or the error stands."""
    if result.index in held.cancelled:
        interrupted = error.kind in ("timeout", "cancelled")
        held.end(replace(result, status="cancelled", error=None) if interrupted else result)
    elif error.kind == "timeout" and held.size > 1 and result.run_s < _MISFIRE * spec.timeout:
        held.move(result.index)
    elif error.kind in attempts.RETRIED and not held.chunks:
        delay = attempts.retry_delay(spec.retries, held.pack.attempt)
        if delay is None:
            held.end(result)
        else:
            held.move(result.index, attempt=held.pack.attempt + 1, delay=delay)
    else:
        held.end(result)


def container_lost(container: Container, held: Held, end: Exit) -> None:
    """A container ended while it ran a pack. What has no end afterwards is a pack of one that goes back."""
    spec = container.function.record.spec
    if container.verdict == "timeout":
        _timed_out(spec, container, held, end)
    elif container.verdict == "cancel":
        end_cancelled(held)
        _move_rest(held)
    elif held.chunks:
        held.fail(held.pack.first, attempts.lost_error(spec, container.id, end, held.losses + 1))
    elif container.killed or end.platform:
        _move_rest(held)
    else:
        _blame(spec, container, held, end)


def end_cancelled(held: Held) -> None:
    """End the inputs that were cancelled."""
    for index in held.unfinished():
        if index in held.cancelled:
            held.end(InputResult(index=index, status="cancelled"))


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
    failed(spec, held, InputResult(index=left[0], status="error", run_s=spec.timeout, error=error), error)


def _move_rest(held: Held) -> None:
    """What is left goes on as packs of one; what is one already is sent back by the pool."""
    if held.size > 1:
        for index in held.unfinished():
            held.move(index)


def _blame(spec: FunctionSpec, container: Container, held: Held, end: Exit) -> None:
    """User code may have ended the container: count the loss, and end what was lost too often."""
    losses = held.losses + 1
    alone = held.size == 1
    for index in held.unfinished():
        if index in held.cancelled:
            held.end(InputResult(index=index, status="cancelled"))
        elif end.oom and alone:
            held.fail(index, attempts.memory_error(spec, container.id, end))
        elif losses >= MAX_LOSSES:
            held.fail(index, attempts.lost_error(spec, container.id, end, losses))
        elif not alone:
            held.move(index, lost=True)
