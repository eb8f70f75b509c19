"""Runs asynchronous functions: an event loop that reads the link, and a task for each input."""

import asyncio
import importlib.util
import signal
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from afield import _context
from afield._guest.channel import LOW_WATER, FrameChannel
from afield._guest.endings import die, exit_status, finish, leave_if_forked
from afield._guest.errors import GuestError, LinkClosedError
from afield._guest.link import Link
from afield._guest.loader import Loaded
from afield._guest.outcomes import Outcomes, Phase
from afield._guest.packs import Inbox, Interruption, Pack
from afield._guest.reports import Reports
from afield._guest.streams import Streams
from afield._wire.guest import TO_GUEST, Start, Yields
from afield._wire.messages import InputResult

END_PATIENCE: Final = 5.0
"""Seconds that tasks which user code left running get to clean up when the container ends."""


class AsyncLoop:
    """One container's loop over its packs."""

    def __init__(
        self, link: Link, streams: Streams, start: Start, loaded: Loaded, outcomes: Outcomes
    ) -> None:
        self._link = link
        self._streams = streams
        self._function = loaded.raw
        self._run_one = self._run_generator if loaded.is_generator else self._run_function
        self._outcomes = outcomes
        self._timeout = start.function.spec.timeout
        self._inbox = Inbox()
        self._changed = asyncio.Event()
        """Set when a frame came in."""
        self._channel: FrameChannel
        self._reports: Reports
        self._began = 0.0
        self._task: asyncio.Task[InputResult] | None = None
        self._interrupted: Interruption | None = None

    def run(self) -> None:
        """Run packs until the worker says Stop. Does not return when the worker is gone."""
        loop = _new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve())
        except SystemExit as error:
            # Of a task that user code started: as in any program, it ends the process.
            finish(exit_status(error))

    async def _serve(self) -> None:
        sock, decoder, frames = self._link.hand_over()
        self._channel = FrameChannel(sock, TO_GUEST, self._on_frame, self._on_close, decoder=decoder)
        self._reports = Reports(self._channel.send)
        for frame in frames:
            self._on_frame(frame)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._on_ring)
        self._channel.start()
        while True:
            pack = self._inbox.next()
            if pack is not None:
                await self._run_pack(pack)
            elif self._inbox.stop is not None:
                break
            else:
                await self._frames()
        await self._end_leftovers()

    async def _frames(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _run_pack(self, pack: Pack) -> None:
        while not pack.over:
            self._began = self._reports.begin(pack.run.token)
            self._interrupted = None
            if pack.cancelled:
                result = self._outcomes.interrupted(pack.index, "cancelled", None, pack.run.call_id, 0.0)
            else:
                result = await self._run_task(pack)
            self._streams.settle()
            self._reports.add(result)
            pack.done += 1
        self._reports.flush()

    async def _run_task(self, pack: Pack) -> InputResult:
        # Owned here, and awaited at once; a task group would wrap what it raises.
        self._task = asyncio.get_running_loop().create_task(self._run_one(pack))
        try:
            return await self._task
        except asyncio.CancelledError as error:  # before its first step, so nobody in it could tell
            return self._failed(pack, error, "exception")
        finally:
            self._task = None

    # -- functions ----------------------------------------------------------------------------------------

    async def _run_function(self, pack: Pack) -> InputResult:
        """Run an input, whatever it raises: SystemExit, too, must not reach the event loop."""
        phase: Phase = "deserialization"
        _context.enter_input(pack.run.call_id, pack.index)
        try:
            args, kwargs = self._outcomes.arguments(pack.payload)
            phase = "exception"
            value = await self._function(*args, **kwargs)
            phase = "serialization"
            data = self._outcomes.serialize(value)
        except BaseException as error:
            return self._failed(pack, error, phase)
        leave_if_forked(self._link, None)
        if self._interrupted:  # and user code took no notice
            return self._failed(pack, None, phase)
        return self._outcomes.ok(pack.index, data, pack.run.call_id, self._ran())

    def _failed(self, pack: Pack, error: BaseException | None, phase: Phase) -> InputResult:
        leave_if_forked(self._link, error)
        index, call_id, ran = pack.index, pack.run.call_id, self._ran()
        if self._interrupted:
            return self._outcomes.interrupted(index, self._interrupted, error, call_id, ran)
        assert error is not None
        return self._outcomes.failed(index, error, phase, call_id, ran)

    def _ran(self) -> float:
        return time.monotonic() - self._began

    # -- generators ---------------------------------------------------------------------------------------

    async def _run_generator(self, pack: Pack) -> InputResult:
        """Send values as the caller's credit allows, each one at once."""
        phase: Phase = "deserialization"
        _context.enter_input(pack.run.call_id, pack.index)
        values: AsyncIterator[Any] | None = None
        sent = 0
        try:
            args, kwargs = self._outcomes.arguments(pack.payload)
            phase = "exception"
            values = aiter(self._function(*args, **kwargs))
            while True:
                while sent >= pack.credit:
                    await self._frames()
                phase = "exception"
                try:
                    value = await anext(values)
                except StopAsyncIteration:
                    break
                phase = "serialization"
                data = self._outcomes.serialize(value)
                leave_if_forked(self._link, None)
                self._streams.settle()
                await self._send_value(pack, sent, self._outcomes.store(data, pack.run.call_id))
                sent += 1
        except GuestError as error:
            die(error)
        except BaseException as error:
            return self._failed(pack, error, phase)
        finally:
            await _close(values)
        leave_if_forked(self._link, None)
        if self._interrupted:
            return self._failed(pack, None, phase)
        return self._outcomes.ended(pack.index, self._ran())

    async def _send_value(self, pack: Pack, number: int, value: Any) -> None:
        self._channel.send(Yields(token=pack.run.token, first=number, values=(value,)))
        if self._channel.pending > LOW_WATER:
            await self._channel.drained()

    # -- from the worker ----------------------------------------------------------------------------------

    def _on_frame(self, frame: Any) -> None:
        self._inbox.accept(frame)
        self._changed.set()
        current = self._inbox.current
        if current is not None and not current.over and current.cancelled:
            self._interrupt("cancelled")

    def _on_ring(self) -> None:
        self._channel.read_now()
        why = self._inbox.ring(self._ran(), self._timeout)
        if why is not None:
            self._interrupt(why)
        else:
            self._reports.flush()

    def _on_close(self, error: Exception | None) -> None:
        die(error or LinkClosedError("the worker closed the link"))

    def _interrupt(self, why: Interruption) -> None:
        if self._task is not None and self._interrupted is None:
            self._interrupted = why
            self._task.cancel()

    # -- the end ------------------------------------------------------------------------------------------

    async def _end_leftovers(self) -> None:
        """Let tasks and asynchronous generators that user code left behind clean up."""
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGUSR1)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_PATIENCE)
        await loop.shutdown_asyncgens()


async def _close(values: AsyncIterator[Any] | None) -> None:
    """Let a generator that did not run to its end clean up."""
    if isinstance(values, AsyncGenerator):
        try:
            await values.aclose()
        except BaseException:  # the input has its result; this is a matter for the log
            traceback.print_exc()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    if importlib.util.find_spec("uvloop"):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
