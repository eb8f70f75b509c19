"""Runs asynchronous code: an event loop that reads the link, and a task for each input or batch.

What is synchronous in such a container (some methods of a class) runs in threads beside the loop.
"""

import asyncio
import contextvars
import signal
import time
from functools import partial
from typing import Any

from afield._guest import preemption
from afield._guest.asynccalls import AsyncCalls, TaskTurn
from afield._guest.batchcalls import BatchCall, BatchCalls
from afield._guest.batches import Batch, BatchInbox
from afield._guest.channel import LOW_WATER, FrameChannel
from afield._guest.endings import die
from afield._guest.errors import GuestError, LinkClosedError
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Inbox, Pack
from afield._guest.reports import Reports
from afield._guest.streams import Streams
from afield._guest.targets import Target, Targets
from afield._guest.threads import WorkThreads
from afield._guest.threadwork import ThreadWork, Work
from afield._guest.userloop import UserLoop
from afield._wire.guest import TO_GUEST, Start, Yields
from afield._wire.messages import InputResult


class AsyncLoop:
    """One container's loop over its packs."""

    def __init__(
        self,
        link: Link,
        streams: Streams,
        start: Start,
        targets: Targets,
        outcomes: Outcomes,
        user_loop: UserLoop,
    ) -> None:
        spec = start.function.spec
        self._link = link
        self._streams = streams
        self._outcomes = outcomes
        self._targets = targets
        self._user_loop = user_loop
        self._room = spec.concurrency.max_inputs
        self._calls = AsyncCalls(link, streams, outcomes, self._send_and_wait)
        self._batch_calls: BatchCalls | None = None
        self.inbox: Inbox | BatchInbox = Inbox(spec.timeout, self._send, self._room)
        if spec.batching is not None:
            self.inbox = BatchInbox(spec.batching, spec.timeout, self._room, self._send)
            self._batch_calls = BatchCalls(outcomes, targets.only, spec.name, self._send)
        self._threads: WorkThreads[Work] | None = None
        self._active = 0
        """Packs and batches that run."""
        self._muted = False
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._channel: FrameChannel
        self._context: contextvars.Context

    def run(self) -> None:
        """Run packs until the worker says Stop. Does not return when the worker is gone.

        Raises SystemExit if a task that user code started does: as in any program, it ends the process.
        """
        try:
            self._user_loop.run(self._serve())
        except BaseException:
            self._muted = (
                True  # what still runs ends with the process, and must not be told as if it had ended itself
            )
            raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._over = asyncio.Event()
        sock, decoder, frames = self._link.hand_over()
        self._channel = FrameChannel(sock, TO_GUEST, self._on_frame, self._on_close, decoder=decoder)
        self._loop.add_signal_handler(signal.SIGUSR1, self._on_ring)
        preemption.watch(self._preempt)
        for frame in frames:
            self._on_frame(frame)
        self._channel.start()
        await self._over.wait()
        await self._channel.flushed()
        self._loop.remove_signal_handler(signal.SIGUSR1)

    # -- from the worker ----------------------------------------------------------------------------------

    def _on_frame(self, frame: Any) -> None:
        self.inbox.accept(frame)
        self._go_on()

    def _on_ring(self) -> None:
        self._channel.read_now()
        # With several at once, interruptions come in frames, and a ring has nothing to say.
        if self._room == 1 and isinstance(self.inbox, Inbox):
            self.inbox.ring()

    def _on_close(self, error: Exception | None) -> None:
        die(error or LinkClosedError("the worker closed the link"))

    def _preempt(self) -> None:
        """In another thread."""
        self._loop.call_soon_threadsafe(self._on_preemption)

    def _on_preemption(self) -> None:
        self.inbox.preempt(preemption.GRACE_S)
        self._go_on()

    # -- what runs ----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while (work := self.inbox.next()) is not None:
            self._active += 1
            self._begin(work)
        if self.inbox.stop is not None and not self._active:
            self._over.set()
        due = self.inbox.due()
        if due is not None and self._timer is None:
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._go_on()

    def _begin(self, work: Work) -> None:
        target = self._targets.only if isinstance(work, Batch) else self._targets.find(work.run.method)
        if not target.is_async:
            self._in_thread(work)
        elif isinstance(work, Batch):
            self._begin_batch(work)
        else:
            work.reports = Reports(self._send)
            turn = work.turn = TaskTurn(
                self._link, self._outcomes, partial(self._on_result, work, target), -1
            )
            self._begin_input(work, target, turn)

    def _end(self, work: Any) -> None:
        self.inbox.over(work)
        self._active -= 1
        self._go_on()

    # -- packs ----------------------------------------------------------------------------------------------

    def _begin_input(self, pack: Pack, target: Target, turn: TaskTurn) -> None:
        """Begin with the next input of a pack, or end it."""
        assert pack.reports is not None
        while not pack.over:
            turn.begin(pack.index, pack.reports.begin(pack.run.token))
            if not pack.cancelled:
                turn.start(self._calls.run(turn, pack, target))
                return
            self._report(pack, turn.not_begun(pack.run.call_id, turn.index))
        pack.reports.flush()
        self._end(pack)

    def _on_result(self, pack: Pack, target: Target, turn: TaskTurn, result: InputResult | None) -> None:
        if result is None:  # cancelled before its first step, so nobody in it could tell
            result = turn.failed(pack.run.call_id, turn.index, asyncio.CancelledError())
        if result is not None:
            self._report(pack, result)
        if turn.interrupted != "preempted":
            self._begin_input(pack, target, turn)
        else:
            pack.tell()
            self._end(pack)

    def _report(self, pack: Pack, result: InputResult) -> None:
        assert pack.reports is not None
        self._streams.settle()
        pack.reports.add(result)
        pack.done += 1

    # -- batches --------------------------------------------------------------------------------------------

    def _begin_batch(self, batch: Batch) -> None:
        assert self._batch_calls is not None
        turn = batch.turn = TaskTurn(
            self._link,
            self._outcomes,
            partial(self._on_batch, batch),
            batch.items[0].number,
            time.monotonic(),
        )
        self._send(batch.began())
        turn.start(self._batch_calls.run_async(batch))

    def _on_batch(self, batch: Batch, turn: TaskTurn, call: BatchCall | None) -> None:
        assert self._batch_calls is not None
        if call is None:
            call = self._batch_calls.not_run(batch, asyncio.CancelledError())
        results = call.results(turn)
        self._streams.settle()
        self._batch_calls.report(results)
        self._end(batch)

    # -- threads --------------------------------------------------------------------------------------------

    def _in_thread(self, work: Work) -> None:
        if self._threads is None:
            runner = ThreadWork(
                self._link,
                self._streams,
                self._outcomes,
                self._targets,
                self._batch_calls,
                self._send_from_thread,
            )
            self._threads = WorkThreads(self._room, partial(self._run_in_thread, runner), lambda: None)
        self._threads.submit(work)

    def _run_in_thread(self, runner: ThreadWork, work: Work) -> None:
        """In a thread."""
        runner.run(work, lambda _: None)
        # Not in the context of user code: what begins next would inherit it.
        self._loop.call_soon_threadsafe(self._end, work, context=self._context)

    def _send_from_thread(self, frame: Any) -> None:
        if isinstance(frame, Yields):
            asyncio.run_coroutine_threadsafe(self._send_and_wait(frame), self._loop).result()
        else:
            self._loop.call_soon_threadsafe(self._send, frame)

    # -- to the worker ----------------------------------------------------------------------------------------

    def _send(self, frame: Any) -> None:
        if self._muted:
            return
        try:
            self._channel.send(frame)
        except GuestError as error:
            die(error)

    async def _send_and_wait(self, frame: Any) -> None:
        self._send(frame)
        if self._channel.pending > LOW_WATER:
            await self._channel.drained()
