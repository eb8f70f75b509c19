"""The shell of the pool: turns what happens into its events, and carries its instructions out.

On the way of a call (delivery, Run, Results, publish, ack) no task is made and nothing is logged.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.delivery import Delivery
from afield._bus.errors import BlobNotFoundError, BusBufferFullError, BusError, PublishRefusedError
from afield._bus.publisher import RESULT_EXISTS
from afield._guest.errors import LinkFullError
from afield._wire import subjects
from afield._wire.codec import WireError, decode, encode
from afield._wire.functions import FunctionRecord
from afield._wire.guest import Ready, Run, StartFailed, Yields
from afield._wire.guest import Results as ResultsFrame
from afield._wire.ids import input_id
from afield._wire.messages import BlobRef, CallControl, ErrorInfo, Event, InputPack, Waits, Wake
from afield._wire.streams import MAX_LOSSES
from afield._wire.subjects import Lane
from afield_common.log import get_logger
from afield_worker.attempts import Exit
from afield_worker.beats import Beats
from afield_worker.blobs import Blobs, WrongHostError
from afield_worker.containers import Containers, StartError
from afield_worker.held import Held
from afield_worker.instructions import (
    Ack,
    Fetch,
    Instruction,
    Interrupt,
    Kill,
    Nak,
    Progress,
    Pull,
    Report,
    Send,
    Settle,
    StoreChunk,
    Unpull,
)
from afield_worker.pool import Pool
from afield_worker.puller import Puller
from afield_worker.results import Results
from afield_worker.runners.base import Container, ExitInfo, Stream

log = get_logger(__name__)

_MIN_WAIT_S: Final = 0.001

ACK_LAG_S: Final = 0.002
"""Seconds that acknowledgements may wait for a result to go out with: a write to the socket costs more than they do."""


class Engine:
    """Runs a pool. The handlers of containers (`ContainerHandlers`) and of deliveries are its methods."""

    def __init__(
        self,
        bus: Bus,
        tasks: TaskGroup,
        containers: Containers,
        blobs: Blobs,
        beats: Beats,
        worker_id: str,
        pool: Pool,
    ) -> None:
        self.pool = pool
        self._bus = bus
        self._tasks = tasks
        self._containers = containers
        self._blobs = blobs
        self._beats = beats
        self._worker_id = worker_id
        self._puller = Puller(bus, tasks, self.on_delivery)
        self._results = Results(bus, tasks, blobs, worker_id, self._on_stored, self._on_not_stored)
        self._unreadable: dict[str, str] = {}
        """Subject to what is wrong with the message."""
        self._loop = asyncio.get_running_loop()
        self._armed = inf
        self._timer: asyncio.TimerHandle | None = None
        self._acks: list[Delivery] = []
        self._ack_timer: asyncio.TimerHandle | None = None
        self._empty = anyio.Event()
        self._carry: dict[type, Callable[[Any], None]] = {
            Pull: self._pull,
            Unpull: lambda i: self._puller.stop(i.function_id),
            Send: self._send,
            Fetch: self._begin_fetch,
            Settle: self._settle,
            StoreChunk: lambda i: self._results.store_chunk(i, self._on_chunk),
            Ack: self._ack,
            Nak: self._nak,
            Progress: self._progress,
            Interrupt: self._interrupt,
            Kill: lambda i: self._containers.kill(i.container_id),
            Report: self._report,
        }

    def do(self, instructions: list[Instruction]) -> None:
        """Carry instructions out, and see to it that the pool is called when its next deadline comes."""
        for instruction in instructions:
            self._carry[instruction.__class__](instruction)
        if self.pool.next_tick < self._armed:
            self._arm()
        if self.pool.draining and not self.pool.held and not self.pool.containers:
            self._empty.set()

    # -- requests ----------------------------------------------------------------------------------------

    def start_container(self, container_id: str, record: FunctionRecord) -> None:
        """Start a container; pulling for it begins at once."""
        self._containers.begin(container_id, record)
        self.do(self.pool.container_requested(container_id, record, time.monotonic()))
        self._containers.launch(container_id, self, self._on_started, self._on_not_started)

    def stop_container(self, container_id: str, *, grace: float, abort: bool) -> None:
        """Stop a container."""
        self.do(self.pool.stop_container(container_id, time.monotonic(), grace=grace, abort=abort))

    def on_control(self, control: CallControl) -> None:
        """Somebody wants something of a call; mostly it runs elsewhere."""
        now = time.monotonic()
        if control.verb == "credit":
            self.do(self.pool.generators.credit(control.call_id, control.consumed, now))
        else:
            self.do(
                self.pool.cancel(
                    control.call_id, control.indices, now, terminate=control.terminate_containers
                )
            )

    def retire_container(self, container_id: str) -> None:
        """Stop a container when it has finished what it runs."""
        self.do(self.pool.retire_container(container_id, time.monotonic()))
        self._beats.changed()

    def on_waits(self, waits: Waits) -> None:
        """What a container runs waits for calls of its own, or waits no more."""
        said = self.pool.waits(waits.container_id, waits.session, waits.calls, time.monotonic())
        if said is not None:
            self.do(said)
            self._beats.changed()

    async def drain(self, grace: float) -> None:
        """Stop pulling, let what runs end within `grace` seconds, and wait until nothing is left."""
        self.do(self.pool.drain(time.monotonic(), grace=grace))
        await self._empty.wait()

    def abandon(self) -> None:
        """Send back whatever is still held, and stop the clock."""
        self.do(self.pool.abandon())
        self._send_acks()
        for timer in (self._timer, self._ack_timer):
            if timer is not None:
                timer.cancel()

    # -- deliveries -----------------------------------------------------------------------------------------

    def on_delivery(self, lane: Lane, delivery: Delivery) -> None:
        """A consumer delivered a pack."""
        subject = delivery.subject
        fetch = False
        try:
            pack = decode(InputPack, delivery.data)
            if not pack.args or pack.function_id not in subject:
                raise WireError(
                    f"expected inputs for the function that {subject} names, got {len(pack.args)}"
                )
        except WireError as error:
            try:
                pack = _stand_in(subject)
            except ValueError:
                log.error("an input that nobody can answer is removed", subject=subject, error=str(error))
                delivery.term()
                return
            self._unreadable[subject] = str(error)
            fetch = True
        for arg in pack.args:
            if arg.__class__ is not bytes:
                fetch = True
        self.do(
            self.pool.delivery(
                delivery,
                subject,
                lane,
                pack,
                num_delivered=delivery.num_delivered,
                pending=delivery.pending,
                now=time.monotonic(),
                wait=pack.not_before - time.time() if pack.not_before else 0.0,
                fetch=fetch,
            )
        )

    def _begin_fetch(self, fetch: Fetch) -> None:
        self._tasks.start_soon(self._fetch, fetch.held)

    async def _fetch(self, held: Held) -> None:
        """Bring the arguments of a pack here."""
        failure: ErrorInfo | None = None
        args: tuple[bytes | BlobRef, ...] | None = None
        try:
            unreadable = self._unreadable.pop(held.subject, "")
            if unreadable:
                raise ValueError(f"the input cannot be read by this worker: {unreadable}")
            args = await self._blobs.localize(held.pack.args, held.pack.call_id)
        except WrongHostError as error:
            if held.losses + 1 >= MAX_LOSSES:
                failure = ErrorInfo(kind="internal", message=str(error))
        except (BlobNotFoundError, ValueError) as error:
            failure = ErrorInfo(kind="internal", message=str(error))
        except (BusError, OSError) as error:
            log.warning("arguments not fetched, trying again", call_id=held.pack.call_id, error=str(error))
        now = time.monotonic()
        if args is None:
            self.do(self.pool.fetch_failed(held, failure, now))
            return
        self.do(self.pool.fetched(held, args, now))
        if held.args is not args:  # sent back or cancelled meanwhile
            self._blobs.forget(args)

    # -- containers (ContainerHandlers) -----------------------------------------------------------------------

    def on_frame(self, container: Container, frame: Any) -> None:
        """A guest sent a frame. What its container wrote before goes out before."""
        live = self._containers.live[container.id]
        container.drain_output()
        if live.log.pending:
            live.log.flush()
        now = time.monotonic()
        if isinstance(frame, ResultsFrame):
            for result in frame.results:
                if result.error is not None:
                    frame = _with_tails(frame, live.log.tail.lines())
                    break
            self._on_results(container.id, frame, now)
        elif isinstance(frame, Yields):
            self.do(self.pool.generators.yields(container.id, frame, now))
        elif isinstance(frame, Ready):
            self.do(self.pool.container_ready(container.id, now))
        elif isinstance(frame, StartFailed):
            # An exception too large for the frame lies in a file, which cannot be shared by many results.
            exception = frame.error.exception if isinstance(frame.error.exception, bytes) else None
            error = replace(frame.error, exception=exception, log_tail=live.log.tail.lines())
            self.do(self.pool.container_failed(container.id, error, now))

    def _on_results(self, container_id: str, frame: ResultsFrame, now: float) -> None:
        slots = self.pool.containers[container_id].function if container_id in self.pool.containers else None
        known = slots is None or slots.mean is not None
        self.do(self.pool.results(container_id, frame, now))
        if not known and slots is not None and slots.mean is not None:
            self._beats.learnt()

    def on_output(self, container: Container, stream: Stream, data: bytes) -> None:
        """A container wrote something."""
        state = self.pool.containers.get(container.id)
        held = state.running if state is not None else None
        single = held is not None and held.size == 1
        pack = held.pack if held is not None else None
        source = input_id(pack.call_id, pack.first) if single and pack is not None else ""
        self._containers.live[container.id].log.write(container, stream, data, source)

    def on_exit(self, container: Container, info: ExitInfo) -> None:
        """A container is gone."""
        live = self._containers.live[container.id]
        live.log.flush()
        end = Exit(
            exit_code=info.exit_code,
            signal=info.signal,
            oom=info.oom,
            log_tail=live.log.tail.lines(),
            reason=info.reason,
            platform=bool(info.platform),
        )
        self._gone(container.id, end)

    def _on_started(self, container_id: str, container: Container) -> None:
        state = self.pool.containers.get(container_id)
        if state is not None:
            state.pid = container.pid
            self._beats.changed()

    def _on_not_started(self, container_id: str, error: StartError) -> None:
        if error.final:
            info = ErrorInfo(kind="startup", message=str(error), container_id=container_id)
            self.do(self.pool.container_failed(container_id, info, time.monotonic()))
        self._gone(container_id, Exit(reason=str(error), platform=True))

    def _gone(self, container_id: str, end: Exit) -> None:
        self.do(self.pool.container_exited(container_id, end, time.monotonic()))
        self._containers.forget(container_id)

    # -- results ------------------------------------------------------------------------------------------

    def _on_stored(self, held: Held) -> None:
        self.do(self.pool.stored(held))
        if held.has_blobs:
            self._blobs.forget(held.args)
            gone_on = {moved.input_index - held.pack.first for moved in held.moved}
            self._tasks.start_soon(
                self._delete_blobs, [arg for i, arg in enumerate(held.pack.args) if i not in gone_on]
            )

    def _on_not_stored(self, held: Held) -> None:
        self.do(self.pool.store_failed(held))

    def _on_chunk(self, held: Held, error: BusError | OSError | None) -> None:
        if error is None:
            self.do(self.pool.generators.chunk_stored(held))
            return
        refused = isinstance(error, PublishRefusedError) and error.err_code == RESULT_EXISTS
        info = None
        if not refused:
            log.error("values of a generator not stored", call_id=held.pack.call_id, error=str(error))
            info = ErrorInfo(kind="internal", message=f"values of the generator could not be stored: {error}")
        self.do(self.pool.generators.chunk_refused(held, time.monotonic(), info))

    async def _delete_blobs(self, refs: list[bytes | BlobRef]) -> None:
        try:
            await self._blobs.delete(refs)
        except (BusError, OSError, ValueError) as error:
            log.warning("blobs not removed; they lapse", error=str(error))

    # -- instructions ---------------------------------------------------------------------------------------

    def _pull(self, pull: Pull) -> None:
        record = self.pool.functions[pull.function_id].record
        self._puller.pull(record, pull.lane, pull.more)

    def _send(self, send: Send) -> None:
        live = self._containers.live[send.container_id]
        container = live.container
        if container is None:
            return  # its start was given up
        if send.frame.__class__ is Run:
            live.log.tail.clear()  # the last lines in an error are of its own pack
        try:
            container.send(send.frame)
        except LinkFullError as error:
            container.kill(str(error))
        self._beats.busy()

    def _settle(self, settle: Settle) -> None:
        self._results.settle(settle)
        for delivery in self._acks:
            delivery.ack()
        self._acks.clear()
        self._beats.busy()
        if settle.moved:
            self._wake(settle.held)

    def _ack(self, ack: Ack) -> None:
        self._acks.append(ack.delivery)
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_LAG_S, self._send_acks)

    def _send_acks(self) -> None:
        self._ack_timer = None
        acks, self._acks = self._acks, []
        for delivery in acks:
            delivery.ack()

    def _nak(self, nak: Nak) -> None:
        nak.delivery.nak(nak.delay)
        if nak.held is not None and nak.held.has_blobs:
            self._blobs.forget(nak.held.args)

    def _progress(self, progress: Progress) -> None:
        for delivery in progress.deliveries:
            delivery.progress()

    def _interrupt(self, interrupt: Interrupt) -> None:
        container = self._containers.live[interrupt.container_id].container
        if container is not None:
            container.interrupt()

    def _wake(self, held: Held) -> None:
        """Tell the scheduler that inputs went back to the stream, or will."""
        address = subjects.parse_input(held.subject)
        wake = Wake(ws=address.ws, function_id=address.function_id, outstanding=len(held.moved))
        self._say(subjects.wake(address.shard), encode(wake))

    def _report(self, report: Report) -> None:
        live = self._containers.live[report.container_id]
        keys = {"container_id": report.container_id, "function_id": report.function_id}
        if report.kind == "container.failed":
            log.warning("a container of %s failed: %s", live.record.spec.name, report.detail, **keys)
        else:
            log.debug(report.kind, detail=report.detail, **keys)
        event = Event(
            kind=report.kind,
            at=time.time(),
            app_id=report.app_id,
            worker_id=self._worker_id,
            detail=report.detail,
            container_id=report.container_id,
            function_id=report.function_id,
        )
        self._say(subjects.event(live.record.ws, report.app_id, report.function_id), encode(event))
        self._beats.changed()

    def _say(self, subject: str, payload: bytes) -> None:
        """Publish what may be lost."""
        try:
            self._bus.send(subject, payload)
        except BusBufferFullError as error:
            log.warning("not published", subject=subject, error=str(error))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self.pool.next_tick
        wait = max(_MIN_WAIT_S, self._armed - time.monotonic())
        self._timer = self._loop.call_later(wait, self._tick)

    def _tick(self) -> None:
        self._armed = inf
        self.do(self.pool.tick(time.monotonic()))


def _stand_in(subject: str) -> InputPack:
    """Return a pack for a message that cannot be read, so that its caller can be told."""
    address = subjects.parse_input(subject)
    return InputPack(
        call_id=address.call_id,
        function_id=address.function_id,
        kind="call",
        first=address.pack.first,
        args=(b"",) * address.pack.size,
        sent_at=0.0,
        attempt=address.attempt,
    )


def _with_tails(frame: ResultsFrame, tail: tuple[str, ...]) -> ResultsFrame:
    """Return the frame with the last log lines in the errors of user code that asked to exit."""
    results = [
        replace(r, error=replace(r.error, log_tail=tail)) if r.error and r.error.kind == "exit" else r
        for r in frame.results
    ]
    return replace(frame, results=tuple(results))
