"""Runs inputs of asynchronous code, each in a task of its own, and the turns of tasks."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from types import AsyncGeneratorType
from typing import Any

from afield import _context
from afield._guest.endings import die, leave_if_forked
from afield._guest.errors import GuestError
from afield._guest.link import Link
from afield._guest.outcomes import Interruption, Outcomes
from afield._guest.packs import Pack
from afield._guest.streams import Streams
from afield._guest.targets import Target
from afield._guest.turns import Turn
from afield._wire.guest import Yields
from afield._wire.messages import InputResult


class TaskTurn(Turn):
    """A turn of a task, which is interrupted by being cancelled."""

    __slots__ = ("_credited", "_done", "_task")

    def __init__(
        self,
        link: Link,
        outcomes: Outcomes,
        done: Callable[["TaskTurn", Any], None],
        index: int = 0,
        now: float = 0.0,
    ) -> None:
        """`done(turn, result)` is called when the task has ended, with what it returned, or None if it never began."""
        super().__init__(link, outcomes, index, now)
        self._done = done
        self._task: asyncio.Task[Any] | None = None
        self._credited: asyncio.Event | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` in a task of its own."""
        # Owned here; what it ends with is taken in `_ended`.
        task = self._task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        try:
            self._done(self, None if task.cancelled() else task.result())
        except GuestError as error:
            die(error)
        except BaseException as error:  # a bug of ours: what user code raises ends its input only
            traceback.print_exc()
            die(error)

    def interrupt(self, why: Interruption) -> None:
        if self._task is not None and self.interrupted is None:
            self.interrupted = why
            self._task.cancel()

    def credited(self) -> None:
        if self._credited is not None:
            self._credited.set()

    async def wait(self, enough: Callable[[], bool]) -> None:
        """Wait until `enough()`; an interruption cancels it."""
        waiting = self._credited = self._credited or asyncio.Event()
        while not enough():
            waiting.clear()
            await waiting.wait()


class AsyncCalls:
    """Calls coroutine functions and asynchronous generators, and makes results of what they do."""

    def __init__(
        self,
        link: Link,
        streams: Streams,
        outcomes: Outcomes,
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """`send(frame)` sends to the worker, and waits for room."""
        self._link = link
        self._streams = streams
        self._outcomes = outcomes
        self._send = send

    def run(self, turn: TaskTurn, pack: Pack, target: Target) -> Coroutine[Any, Any, InputResult | None]:
        """Run one input, whatever it raises: SystemExit, too, must not reach the event loop."""
        return (self._pump if target.is_generator else self._call)(turn, pack, target.call)

    async def _call(self, turn: TaskTurn, pack: Pack, function: Callable[..., Any]) -> InputResult | None:
        call_id, index = pack.run.call_id, turn.index
        _context.enter_input(call_id, index)
        try:
            args, kwargs = self._outcomes.arguments(pack.payload)
            turn.phase = "exception"
            value = await function(*args, **kwargs)
            turn.phase = "serialization"
            data = self._outcomes.serialize(value)
        except BaseException as error:
            return turn.failed(call_id, index, error)
        return turn.ok(call_id, index, data)

    async def _pump(self, turn: TaskTurn, pack: Pack, function: Callable[..., Any]) -> InputResult | None:
        """Send values as the caller's credit allows, each one at once."""
        call_id, index = pack.run.call_id, turn.index
        _context.enter_input(call_id, index)
        values: AsyncIterator[Any] | None = None
        sent = 0
        try:
            args, kwargs = self._outcomes.arguments(pack.payload)
            turn.phase = "exception"
            values = aiter(function(*args, **kwargs))
            while True:
                if not pack.allows(sent):
                    await turn.wait(partial(pack.allows, sent))
                turn.phase = "exception"
                try:
                    value = await anext(values)
                except StopAsyncIteration:
                    break
                turn.phase = "serialization"
                data = self._outcomes.serialize(value)
                leave_if_forked(self._link, None)
                self._streams.settle()
                stored = self._outcomes.store(data, call_id)
                await self._send(Yields(token=pack.run.token, first=sent, values=(stored,)))
                sent += 1
        except GuestError:
            raise
        except BaseException as error:
            if turn.interrupted is not None:
                await _pass_on(values, error)
            return turn.failed(call_id, index, error)
        finally:
            await _close(values)
        return turn.ended(call_id, index)


async def _pass_on(values: AsyncIterator[Any] | None, error: BaseException) -> None:
    """Raise an interruption that came between two values in the generator, too, which waits at a yield and can clean up."""
    if isinstance(values, AsyncGeneratorType) and values.ag_frame is not None and not values.ag_running:
        thrown = error if isinstance(error, asyncio.CancelledError) else asyncio.CancelledError()
        try:
            await values.athrow(thrown)
        except BaseException as end:  # the input has its result; anything else is a matter for the log
            if end is not thrown and not isinstance(end, StopAsyncIteration):
                traceback.print_exc()


async def _close(values: AsyncIterator[Any] | None) -> None:
    """Let a generator that did not run to its end clean up."""
    if isinstance(values, AsyncGenerator):
        try:
            await values.aclose()
        except BaseException:  # the input has its result; this is a matter for the log
            traceback.print_exc()
