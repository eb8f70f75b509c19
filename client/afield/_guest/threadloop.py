"""Runs synchronous code on several inputs at once, or on batches: the main thread reads the link, others run it."""

import math
import os
import select
import signal
import threading
import time
from typing import Any

from afield._guest import preemption
from afield._guest.batchcalls import BatchCalls
from afield._guest.batches import BatchInbox
from afield._guest.isolation import raise_descriptor
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Inbox
from afield._guest.streams import Streams
from afield._guest.targets import Targets
from afield._guest.threads import WorkThreads
from afield._guest.threadwork import ThreadWork, Work
from afield._wire.guest import Start


class ThreadLoop:
    """One container's loop over its packs."""

    def __init__(
        self, link: Link, streams: Streams, start: Start, targets: Targets, outcomes: Outcomes
    ) -> None:
        spec = start.function.spec
        room = spec.concurrency.max_inputs
        self._link = link
        self._sending = threading.Lock()
        self._wake = raise_descriptor(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        batch_calls: BatchCalls | None = None
        self.inbox: Inbox | BatchInbox = Inbox(spec.timeout, self._send, room)
        if spec.batching is not None:
            self.inbox = BatchInbox(spec.batching, spec.timeout, room, self._send)
            batch_calls = BatchCalls(outcomes, targets.only, spec.name, self._send)
        self._work = ThreadWork(link, streams, outcomes, targets, batch_calls, self._send)
        self._threads: WorkThreads[Work] = WorkThreads(room, self._run, self._call)
        self._preempted = False

    def run(self) -> None:
        """Run packs until the worker says Stop. Raises LinkClosedError when the worker is gone."""
        # Interruptions come in frames. A ring must do no harm.
        signal.signal(signal.SIGUSR1, lambda *_: None)
        preemption.watch(self._preempt)
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        closing = False
        while not (closing and self._threads.over):
            for frame in self._link.poll():
                self.inbox.accept(frame)
            if self._preempted:
                self.inbox.preempt(preemption.GRACE_S)
            while (work := self.inbox.next()) is not None:
                self._threads.submit(work)
            if self.inbox.stop is not None and not closing:
                closing = True
                self._threads.close()
                continue
            poller.poll(self._patience())
            self._answer()

    def _patience(self) -> int | None:
        """Return for how many milliseconds nothing is to do, if no frame comes; None for ever."""
        due = self.inbox.due()
        return None if due is None else max(0, math.ceil((due - time.monotonic()) * 1000))

    # -- in any thread ----------------------------------------------------------------------------------

    def _run(self, work: Work) -> None:
        if self.inbox.stop is None:
            self._work.run(work, self._over)

    def _over(self, work: Any) -> None:
        self.inbox.over(work)
        # First out, then look: the main thread looks for room after it has put in what waits.
        if self.inbox.waiting:
            self._call()

    def _send(self, frame: Any) -> None:
        with self._sending:
            self._link.send(frame)

    def _call(self) -> None:
        """Wake the main thread."""
        os.eventfd_write(self._wake, 1)

    def _preempt(self) -> None:
        self._preempted = True
        self._call()

    def _answer(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass  # it was the link
