"""Runs synchronous functions: the main thread itself waits on the link, and user code runs in it.

While user code runs, nobody reads the link. The worker then rings (SIGUSR1): the handler reads it, in the main thread,
and raises InputCancellation right inside the user's code if that is what the frames, or the clock, ask for.
"""

import signal
import time
import traceback
from collections.abc import Generator, Iterator
from typing import Any, Final, NoReturn

from afield import _context
from afield._guest.endings import die, leave_if_forked
from afield._guest.errors import LinkClosedError
from afield._guest.link import Link
from afield._guest.loader import Loaded
from afield._guest.outcomes import Outcomes, Phase
from afield._guest.packs import Inbox, Interruption, Pack
from afield._guest.reports import Reports
from afield._guest.streams import Streams
from afield._wire.guest import Start, Yields
from afield._wire.messages import InputResult
from afield.exception import InputCancellation

_END: Final = object()


class SyncLoop:
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
        self._reports = Reports(link.send)
        self._began = 0.0
        self._armed = False
        """Whether user code runs, so that a ring may raise. Set by the main thread's code and its signal handler."""
        self._rung = False
        self._interrupted: Interruption | None = None

    def run(self) -> None:
        """Run packs until the worker says Stop. Raises LinkClosedError when the worker is gone."""
        signal.signal(signal.SIGUSR1, self._on_ring)
        while True:
            pack = self._inbox.next()
            if pack is not None:
                self._run_pack(pack)
                if self._inbox.waiting:
                    self._take_in(self._link.poll())
            elif self._inbox.stop is not None:
                return
            else:
                self._take_in(self._link.receive())

    def _take_in(self, frames: list[Any]) -> None:
        for frame in frames:
            self._inbox.accept(frame)

    def _run_pack(self, pack: Pack) -> None:
        while not pack.over:
            if pack.done:
                self._take_in(self._link.poll())
            self._began = self._reports.begin(pack.run.token)
            self._interrupted = None
            if pack.cancelled:
                result = self._outcomes.interrupted(pack.index, "cancelled", None, pack.run.call_id, 0.0)
            else:
                result = self._run_guarded(pack)
            self._streams.settle()
            self._reports.add(result)
            pack.done += 1
        self._reports.flush()

    def _run_guarded(self, pack: Pack) -> InputResult:
        try:
            return self._run_one(pack)
        except InputCancellation as error:
            # A ring hit the very moment in which user code had raised by itself.
            return self._failed(pack, error, "exception")

    # -- functions ----------------------------------------------------------------------------------------

    def _run_function(self, pack: Pack) -> InputResult:
        phase: Phase = "deserialization"
        token = _context.enter_input(pack.run.call_id, pack.index)
        try:
            self._arm()
            args, kwargs = self._outcomes.arguments(pack.payload)
            phase = "exception"
            value = self._function(*args, **kwargs)
            phase = "serialization"
            data = self._outcomes.serialize(value)
            self._armed = False
        except BaseException as error:
            self._armed = False
            return self._failed(pack, error, phase)
        finally:
            _context.leave_input(token)
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

    def _run_generator(self, pack: Pack) -> InputResult:
        token = _context.enter_input(pack.run.call_id, pack.index)
        try:
            return self._pump(pack)
        finally:
            _context.leave_input(token)

    def _pump(self, pack: Pack) -> InputResult:
        """Send values as the caller's credit allows, each one at once: nobody knows how long the next will take."""
        phase: Phase = "deserialization"
        values: Iterator[Any] | None = None
        sent = 0
        try:
            self._arm()
            args, kwargs = self._outcomes.arguments(pack.payload)
            phase = "exception"
            values = iter(self._function(*args, **kwargs))
            while True:
                self._armed = False
                self._wait_credit(pack, sent)
                phase = "exception"
                if pack.cancelled:
                    self._interrupted = "cancelled"
                    _throw(values)
                self._arm()
                value = next(values, _END)
                if value is _END:
                    break
                phase = "serialization"
                data = self._outcomes.serialize(value)
                self._armed = False
                leave_if_forked(self._link, None)
                self._streams.settle()
                stored = self._outcomes.store(data, pack.run.call_id)
                self._link.send(Yields(token=pack.run.token, first=sent, values=(stored,)))
                sent += 1
            self._armed = False
        except LinkClosedError:
            raise
        except BaseException as error:
            self._armed = False
            return self._failed(pack, error, phase)
        finally:
            self._close(values)
        leave_if_forked(self._link, None)
        if self._interrupted:
            return self._failed(pack, None, phase)
        return self._outcomes.ended(pack.index, self._ran())

    def _wait_credit(self, pack: Pack, sent: int) -> None:
        while sent >= pack.credit and not pack.cancelled:
            self._take_in(self._link.receive())

    def _close(self, values: Iterator[Any] | None) -> None:
        """Let a generator that did not run to its end clean up."""
        if isinstance(values, Generator):
            try:
                values.close()
            except BaseException:  # the input has its result; this is a matter for the log
                traceback.print_exc()

    # -- rings --------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """From here on a ring may raise; one that came just before is looked at now."""
        self._armed = True
        if self._rung:
            self._on_ring()

    def _on_ring(self, *_: object) -> None:
        self._rung = True
        if not self._armed:
            return
        while True:
            self._armed = False  # another ring must not read the link in the middle of this one
            self._rung = False
            if why := self._look():
                self._interrupted = why
                raise InputCancellation(f"this input was ended by its caller or its timeout ({why})")
            self._armed = True
            if not self._rung:
                return

    def _look(self) -> Interruption | None:
        """Take frames in from within user code; return why the running input must end."""
        try:
            self._take_in(self._link.poll())
            why = self._inbox.ring(self._ran(), self._timeout)
            if why is None:
                self._reports.flush()  # it rang for an input whose end it does not know of
        except LinkClosedError as error:
            die(error)  # user code must not see, and maybe swallow, what is none of its business
        return why


def _throw(values: Iterator[Any]) -> NoReturn:
    """Raise InputCancellation in a generator that waits at a yield; it may go on only to clean up."""
    if isinstance(values, Generator):
        values.throw(InputCancellation("this input was cancelled by its caller"))
    raise InputCancellation("this input was cancelled by its caller")
