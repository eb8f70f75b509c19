"""A container's life: from the fork to Ready, its loop, and its end."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from afield._guest import cstdio, instance, isolation, preemption, snapshot
from afield._guest.asyncloop import AsyncLoop
from afield._guest.endings import die, exit_status, finish, leave_if_forked
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.loader import load
from afield._guest.outcomes import Outcomes
from afield._guest.streams import Streams
from afield._guest.syncloop import SyncLoop
from afield._guest.threadloop import ThreadLoop
from afield._wire.guest import Ready, Start, StartFailed, Stop

if TYPE_CHECKING:
    from afield._guest.template import Newborn

T = TypeVar("T")
Loop = AsyncLoop | ThreadLoop | SyncLoop

START_FAILED_STATUS: Final = 1

DEFAULT_GRACE_S: Final = Stop().grace_s
"""Seconds for exit hooks when nobody said how long."""


def live(newborn: "Newborn") -> NoReturn:
    """Be a container until the worker says Stop. Does not return."""
    link, streams = isolation.isolate(newborn)
    try:
        start = _receive_start(link)
        if newborn.control >= 0:
            # The modules stay in use for as long as the snapshot does, longer than this container.
            start = replace(start, home=newborn.fork.snapshot_home)
        _set_variables(start)
        outcomes = Outcomes(start)
        served = _attempt(link, outcomes, lambda: _load(start))
        if newborn.control >= 0:
            obstacle = served.unfit_for_forks()
            newborn, link, start = snapshot.take(newborn, link, streams, start, obstacle)
            _set_variables(start)
            outcomes = Outcomes(start)
        _attempt(link, outcomes, lambda: instance.enter(served, snap=False))
        loop = _attempt(link, outcomes, lambda: _make_loop(link, streams, start, served, outcomes))
        streams.settle()
        link.send(Ready(load_s=time.monotonic() - newborn.forked_at))
        status, grace = _run(loop)
    except LinkClosedError as error:
        die(error)
    instance.exit(served, grace)
    if served.loop is not None:
        served.loop.end()
    finish(status)


def _receive_start(link: Link) -> Start:
    frames = link.receive()
    if not isinstance(frames[0], Start):
        raise LinkClosedError(f"expected Start as the first frame, got {type(frames[0]).__name__}")
    link.push_back(frames[1:])
    return frames[0]


def _attempt(link: Link, outcomes: Outcomes, step: Callable[[], T]) -> T:
    """Do what runs user code at the start, or report why it failed and exit."""
    try:
        value = step()
    except BaseException as error:
        leave_if_forked(link, error)
        cstdio.flush()
        link.send(StartFailed(error=outcomes.not_started(error)))
        finish(START_FAILED_STATUS)
    leave_if_forked(link, None)
    return value


def _load(start: Start) -> instance.Instance:
    """Make what a snapshot holds."""
    served = instance.construct(start, load(start))
    instance.enter(served, snap=True)
    return served


def _set_variables(start: Start) -> None:
    """Say who this container is."""
    preemption.enable()
    isolation.set_environment(
        {
            "AFIELD_CONTAINER_ID": start.container_id,
            "AFIELD_FUNCTION_ID": start.function.function_id,
            "AFIELD_APP_ID": start.function.app_id,
            "AFIELD_WORKER_ID": start.worker_id,
        }
    )


def _run(loop: Loop) -> tuple[int, float]:
    """Run inputs until the end; return the exit status, and the seconds that are left for exit hooks."""
    status = 0
    try:
        loop.run()
    except SystemExit as error:
        # Of a task that user code started: as in any program, it ends the process.
        status = exit_status(error)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    stop = loop.inbox.stop
    return status, DEFAULT_GRACE_S if stop is None else loop.inbox.stop_by - time.monotonic()


def _make_loop(
    link: Link, streams: Streams, start: Start, served: instance.Instance, outcomes: Outcomes
) -> Loop:
    spec = start.function.spec
    if served.loop is not None:
        return AsyncLoop(link, streams, start, served.targets, outcomes, served.loop)
    if spec.concurrency.max_inputs > 1 or spec.batching is not None:
        return ThreadLoop(link, streams, start, served.targets, outcomes)
    return SyncLoop(link, streams, start, served.targets, outcomes)
