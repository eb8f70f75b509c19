"""Runs inputs of synchronous code in the thread that asks for it."""

import inspect
import traceback
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Final

from afield import _context
from afield._guest.endings import leave_if_forked
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.outcomes import Outcomes
from afield._guest.packs import Pack
from afield._guest.reports import Reports
from afield._guest.streams import Streams
from afield._guest.targets import Target, Targets
from afield._guest.turns import INTERRUPTIONS, RAISED, SyncTurn
from afield._wire.guest import Yields
from afield._wire.messages import InputResult

_END: Final = object()


class SyncCalls:
    """Calls functions and generators, and makes results of what they do."""

    def __init__(
        self, link: Link, streams: Streams, outcomes: Outcomes, targets: Targets, send: Callable[[Any], None]
    ) -> None:
        """`send(frame)` sends to the worker, from any thread that calls `run`."""
        self._link = link
        self._streams = streams
        self._outcomes = outcomes
        self._targets = targets
        self._send = send

    def run_pack(
        self,
        pack: Pack,
        reports: Reports,
        next_turn: Callable[[int, float], SyncTurn],
        between: Callable[[], None] | None = None,
    ) -> None:
        """Run the inputs of a pack in order, all that are wanted; the last results are left in `reports`.

        `next_turn(index, now)` returns a turn for an input; `between()` is called before each but the first.
        """
        run = pack.run
        pack.reports = reports
        target = self._targets.find(run.method)
        while not pack.over:
            if between is not None and pack.done:
                between()
            turn = pack.turn = next_turn(pack.index, reports.begin(run.token))
            if pack.cancelled:
                result: InputResult | None = turn.not_begun(run.call_id, turn.index)
            else:
                result = self.run(turn, pack, target)
            self._streams.settle()
            if result is not None:
                reports.add(result)
                pack.done += 1
            if turn.interrupted == "preempted":
                return

    def run(self, turn: SyncTurn, pack: Pack, target: Target) -> InputResult | None:
        """Run one input; None if it is to run again elsewhere."""
        call_id, index = pack.run.call_id, turn.index
        token = _context.enter_input(call_id, index)
        try:
            if target.is_generator:
                return self._pump(turn, pack, target.call)
            try:
                turn.arm()
                args, kwargs = self._outcomes.arguments(pack.payload)
                turn.phase = "exception"
                value = target.call(*args, **kwargs)
                turn.phase = "serialization"
                data = self._outcomes.serialize(value)
                turn.disarm()
            except BaseException as error:
                turn.disarm()
                return turn.failed(call_id, index, error)
            return turn.ok(call_id, index, data)
        except INTERRUPTIONS as error:
            # It hit the very moment in which user code had raised by itself.
            turn.disarm()
            return turn.failed(call_id, index, error)
        finally:
            _context.leave_input(token)

    def _pump(self, turn: SyncTurn, pack: Pack, function: Callable[..., Any]) -> InputResult | None:
        """Send values as the caller's credit allows, each one at once: nobody knows how long the next will take."""
        call_id, index = pack.run.call_id, turn.index
        values: Iterator[Any] | None = None
        sent = 0
        try:
            turn.arm()
            args, kwargs = self._outcomes.arguments(pack.payload)
            turn.phase = "exception"
            values = iter(function(*args, **kwargs))
            while True:
                turn.disarm()
                if not pack.allows(sent):
                    turn.wait(partial(pack.allows, sent))
                turn.phase = "exception"
                if turn.interrupted is not None:
                    raise RAISED[turn.interrupted]("this input was interrupted while it waited")
                turn.arm()
                value = next(values, _END)
                if value is _END:
                    break
                turn.phase = "serialization"
                data = self._outcomes.serialize(value)
                turn.disarm()
                leave_if_forked(self._link, None)
                self._streams.settle()
                stored = self._outcomes.store(data, call_id)
                self._send(Yields(token=pack.run.token, first=sent, values=(stored,)))
                sent += 1
            turn.disarm()
        except LinkClosedError:
            raise
        except BaseException as error:
            turn.disarm()
            if turn.interrupted is not None:
                _pass_on(values, error, RAISED[turn.interrupted])
            return turn.failed(call_id, index, error)
        finally:
            _close(values)
        return turn.ended(call_id, index)


def _pass_on(values: Iterator[Any] | None, error: BaseException, kind: type[BaseException]) -> None:
    """Raise an interruption that came between two values in the generator, too, which waits at a yield and can clean up."""
    if isinstance(values, Generator) and inspect.getgeneratorstate(values) == inspect.GEN_SUSPENDED:
        thrown = error if isinstance(error, kind) else kind("this input was interrupted")
        try:
            values.throw(thrown)
        except BaseException as end:  # the input has its result; anything else is a matter for the log
            if end is not thrown and not isinstance(end, StopIteration):
                traceback.print_exc()


def _close(values: Iterator[Any] | None) -> None:
    """Let a generator that did not run to its end clean up."""
    if isinstance(values, Generator):
        try:
            values.close()
        except BaseException:  # the input has its result; this is a matter for the log
            traceback.print_exc()
