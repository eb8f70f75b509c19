"""A container's life: from the fork to Ready, its loop, and its end."""

import signal
import time
from typing import TYPE_CHECKING, Final, NoReturn

from afield._guest import cstdio, isolation
from afield._guest.endings import die, finish
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.loader import Loaded, load
from afield._guest.outcomes import Outcomes
from afield._guest.streams import Streams
from afield._guest.syncloop import SyncLoop
from afield._wire.guest import Ready, Start, StartFailed

if TYPE_CHECKING:
    from afield._guest.template import Newborn

START_FAILED_STATUS: Final = 1


def live(newborn: "Newborn") -> NoReturn:
    """Be a container until the worker says Stop. Does not return."""
    link, streams = isolation.isolate(newborn)
    try:
        start = _receive_start(link)
        outcomes = Outcomes(start)
        loaded = _load(link, start, outcomes)
        streams.settle()
        link.send(Ready(load_s=time.monotonic() - newborn.forked_at))
        _run(link, streams, start, loaded, outcomes)
    except LinkClosedError as error:
        die(error)
    finish()


def _receive_start(link: Link) -> Start:
    frames = link.receive()
    if not isinstance(frames[0], Start):
        raise LinkClosedError(f"expected Start as the first frame, got {type(frames[0]).__name__}")
    link.push_back(frames[1:])
    return frames[0]


def _load(link: Link, start: Start, outcomes: Outcomes) -> Loaded:
    """Load the function, or report why not and exit."""
    isolation.set_environment(
        {
            "AFIELD_CONTAINER_ID": start.container_id,
            "AFIELD_FUNCTION_ID": start.function.function_id,
            "AFIELD_APP_ID": start.function.app_id,
            "AFIELD_WORKER_ID": start.worker_id,
        }
    )
    try:
        return load(start)
    except BaseException as error:
        if not link.is_ours:
            raise  # user code forked while it was imported; this is the child
        cstdio.flush()
        link.send(StartFailed(error=outcomes.not_started(error)))
        finish(START_FAILED_STATUS)


def _run(link: Link, streams: Streams, start: Start, loaded: Loaded, outcomes: Outcomes) -> None:
    if loaded.is_async:
        from afield._guest.asyncloop import AsyncLoop

        AsyncLoop(link, streams, start, loaded, outcomes).run()
    else:
        SyncLoop(link, streams, start, loaded, outcomes).run()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
