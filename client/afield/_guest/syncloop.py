"""Runs synchronous functions one input at a time: the main thread itself waits on the link, and user code runs in it."""

import signal
import threading
from collections.abc import Iterable
from typing import Any

from afield._guest import preemption
from afield._guest.endings import die
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Inbox
from afield._guest.reports import Reports
from afield._guest.rings import RingTurn
from afield._guest.streams import Streams
from afield._guest.synccalls import SyncCalls
from afield._guest.targets import Targets
from afield._wire.guest import Start


class SyncLoop:
    """One container's loop over its packs."""

    def __init__(
        self, link: Link, streams: Streams, start: Start, targets: Targets, outcomes: Outcomes
    ) -> None:
        self._link = link
        self.inbox = Inbox(start.function.spec.timeout, link.send)
        self._reports = Reports(link.send)
        self._calls = SyncCalls(link, streams, outcomes, targets, link.send)
        self._turn = RingTurn(link, outcomes, self._take_in, self._look)
        self._preempted = False

    def run(self) -> None:
        """Run packs until the worker says Stop. Raises LinkClosedError when the worker is gone."""
        self._turn.install()
        preemption.watch(self._preempt)
        while True:
            pack = self.inbox.next()
            if pack is not None:
                self._calls.run_pack(pack, self._reports, self._turn.begin, self._poll)
                self.inbox.over(pack)
                self._reports.flush()
                if self.inbox.waiting:
                    self._poll()
            elif self.inbox.stop is not None:
                return
            elif preemption.expected():
                self._turn.begin(0, 0.0).wait(self._has_news)
            else:
                self._take_in(self._link.receive())

    def _take_in(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self.inbox.accept(frame)

    def _poll(self) -> None:
        self._take_in(self._link.poll())

    def _has_news(self) -> bool:
        return self.inbox.stop is not None or bool(self.inbox.waiting)

    def _look(self) -> None:
        """It rang: take frames in, in the middle of user code, and interrupt that if they, or the clock, ask for it."""
        try:
            self._poll()
            if self._preempted:
                self.inbox.preempt(preemption.GRACE_S)
            else:
                self.inbox.ring()
        except LinkClosedError as error:
            die(error)  # user code must not see, and maybe swallow, what is none of its business

    def _preempt(self) -> None:
        """From another thread."""
        self._preempted = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
