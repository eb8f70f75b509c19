"""What a thread does with a pack or a batch of synchronous code."""

import time
from collections.abc import Callable
from typing import Any

from afield._guest.batchcalls import BatchCalls
from afield._guest.batches import Batch
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Pack
from afield._guest.reports import Reports
from afield._guest.streams import Streams
from afield._guest.synccalls import SyncCalls
from afield._guest.targets import Targets
from afield._guest.threads import ThreadTurn

Work = Pack | Batch


class ThreadWork:
    """Runs packs and batches; several threads may do so at the same time."""

    def __init__(
        self,
        link: Link,
        streams: Streams,
        outcomes: Outcomes,
        targets: Targets,
        batch_calls: BatchCalls | None,
        send: Callable[[Any], None],
    ) -> None:
        """`send(frame)` sends to the worker, from any thread."""
        self._link = link
        self._streams = streams
        self._outcomes = outcomes
        self._batch_calls = batch_calls
        self._send = send
        self._calls = SyncCalls(link, streams, outcomes, targets, send)

    def run(self, work: Work, over: Callable[[Work], None]) -> None:
        """Run it. `over(work)` is called before its last results are sent: the worker then knows of room there is."""
        if isinstance(work, Batch):
            self._run_batch(work, over)
        else:
            reports = Reports(self._send)
            self._calls.run_pack(work, reports, self._next_turn)
            over(work)
            reports.flush()

    def _next_turn(self, index: int, now: float) -> ThreadTurn:
        return ThreadTurn(self._link, self._outcomes, index, now)

    def _run_batch(self, batch: Batch, over: Callable[[Work], None]) -> None:
        assert self._batch_calls is not None
        turn = batch.turn = self._next_turn(batch.items[0].number, time.monotonic())
        if not batch.wanted:
            over(batch)
            return
        self._send(batch.began())
        call = self._batch_calls.run(turn, batch)
        results = call.results(turn)
        self._streams.settle()
        over(batch)
        self._batch_calls.report(results)
