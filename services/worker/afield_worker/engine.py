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
from afield._bus.errors import BusError, PublishRefusedError
from afield._bus.publisher import RESULT_EXISTS
from afield._guest.errors import LinkFullError
from afield._wire.functions import FunctionRecord
from afield._wire.guest import Began, Notice, Ready, Recalled, Run, StartFailed, Yields
from afield._wire.guest import Results as ResultsFrame
from afield._wire.ids import input_id
from afield._wire.messages import BlobRef, CallControl, Children, ErrorInfo, Waits
from afield_common.log import get_logger
from afield_worker.acks import Acks
from afield_worker.attempts import Exit
from afield_worker.beats import Beats
from afield_worker.blobs import Blobs
from afield_worker.containers import Containers, StartError
from afield_worker.earlier import EarlierRuns
from afield_worker.estate import Estate
from afield_worker.held import Held
from afield_worker.herald import Herald
from afield_worker.insistence import Insistence
from afield_worker.instructions import (
    Ack,
    CancelCalls,
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
from afield_worker.intake import Intake
from afield_worker.moves import Moves
from afield_worker.pool import Pool
from afield_worker.puller import Puller
from afield_worker.results import Results
from afield_worker.runners.base import Container, ExitInfo, Stream

log = get_logger(__name__)

_MIN_WAIT_S: Final = 0.001


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
        estate: Estate,
    ) -> None:
        self.pool = pool
        self._tasks = tasks
        self._containers = containers
        self._blobs = blobs
        self._beats = beats
        insistence = Insistence(bus)
        moves = Moves(bus, insistence)
        earlier = EarlierRuns(bus, moves)
        self._estate = estate
        self._intake = Intake(tasks, blobs, pool, estate, earlier, self.do)
        self._puller = Puller(bus, tasks, self._intake.on_delivery)
        self._results = Results(
            bus, tasks, blobs, worker_id, insistence, moves, earlier, self._on_stored, self._on_not_stored
        )
        self._herald = Herald(bus, tasks, worker_id)
        self._acks = Acks(self._forget, estate)
        self._loop = asyncio.get_running_loop()
        self._armed = inf
        self._timer: asyncio.TimerHandle | None = None
        self._empty = anyio.Event()
        self._carry: dict[type, Callable[[Any], None]] = {
            Pull: self._pull,
            Unpull: lambda i: self._puller.stop(i.function_id),
            Send: self._send,
            Fetch: self._intake.begin_fetch,
            Settle: self._settle,
            StoreChunk: lambda i: self._results.store_chunk(i, self._on_chunk),
            Ack: self._acks.ack,
            Nak: self._acks.nak,
            Progress: self._acks.progress,
            Interrupt: self._interrupt,
            Kill: lambda i: self._containers.kill(i.container_id),
            Report: self._report,
            CancelCalls: self._herald.cancel_calls,
        }

    def do(self, instructions: list[Instruction]) -> None:
        """Carry instructions out, and see to it that the pool is called when its next deadline comes."""
        try:
            for instruction in instructions:
                self._carry[instruction.__class__](instruction)
        finally:  # a container whose result cannot be sent is free nevertheless
            for instruction in self.pool.go_on():
                self._carry[instruction.__class__](instruction)
        if self.pool.next_tick < self._armed:
            self._arm()
        if self.pool.draining and not self.pool.held and not self.pool.containers:
            self._empty.set()

    # -- requests ----------------------------------------------------------------------------------------

    def start_container(self, container_id: str, record: FunctionRecord) -> None:
        """Start a container; pulling for it begins at once."""
        self._containers.begin(container_id, record)
        self.do(self.pool.lives.requested(container_id, record, time.monotonic()))
        self._containers.launch(container_id, self, self._on_started, self._on_not_started)

    def stop_container(self, container_id: str, *, grace: float, abort: bool, why: str = "") -> None:
        """Stop a container."""
        self.do(self.pool.lives.stop(container_id, time.monotonic(), grace=grace, abort=abort, why=why))

    def on_control(self, control: CallControl) -> None:
        """Somebody wants something of a call; mostly it runs elsewhere."""
        now = time.monotonic()
        if control.verb == "credit":
            self.do(self.pool.generators.credit(control.call_id, control.consumed, now))
        else:
            self.do(
                self.pool.cancels.call(
                    control.call_id, control.indices, now, terminate=control.terminate_containers
                )
            )

    def retire_container(self, container_id: str) -> None:
        """Stop a container when it has finished what it runs."""
        self.do(self.pool.lives.retire(container_id, time.monotonic()))
        self._beats.changed()

    def on_waits(self, waits: Waits) -> None:
        """What a container runs waits for calls of its own, or waits no more."""
        said = self.pool.lives.waits(waits.container_id, waits.session, waits.calls, time.monotonic())
        if said is not None:
            self.do(said)
            self._beats.changed()

    def on_children(self, children: Children) -> None:
        """An input made calls of its own, or such calls have ended."""
        self.do(self.pool.children(children))

    async def drain(self, grace: float) -> None:
        """Stop pulling, let what runs end within `grace` seconds, else hand it back; wait until nothing is left."""
        self.do(self.pool.drain(time.monotonic(), grace=grace))
        await self._empty.wait()
        await self._herald.quiet()

    def abandon(self) -> None:
        """Send back whatever is still held, and stop the clock."""
        self.do(self.pool.abandon())
        self._acks.close()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def stalled(self) -> str:
        """What keeps this worker from working, in one clause; empty if nothing does."""
        return self._results.stalled or self._puller.stalled

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
            self._on_started(container.id, container)  # another process, where a snapshot was taken
            self.do(self.pool.lives.ready(container.id, now))
        elif isinstance(frame, Began):
            self.do(self.pool.began(container.id, frame, now))
            self._beats.busy()
        elif isinstance(frame, Recalled):
            self.do(self.pool.recalled(container.id, frame, now))
        elif isinstance(frame, Notice):
            self.do(self.pool.lives.noticed(container.id, frame.text))
        elif isinstance(frame, StartFailed):
            # An exception too large for the frame lies in a file, which cannot be shared by many results.
            exception = frame.error.exception if isinstance(frame.error.exception, bytes) else None
            error = replace(frame.error, exception=exception, log_tail=live.log.tail.lines())
            self.do(self.pool.lives.failed(container.id, error, now))

    def _on_results(self, container_id: str, frame: ResultsFrame, now: float) -> None:
        state = self.pool.containers.get(container_id)
        if state is None:
            return
        slots = state.function
        known = slots.mean is not None
        self.do(self.pool.results(container_id, frame, now))
        if state.rings and state.running and frame.token not in state.running:
            self._note_run(container_id, state.latest)  # which it may have been sent before
        if not known and slots.mean is not None:
            self._beats.learnt()

    def on_output(self, container: Container, stream: Stream, data: bytes) -> None:
        """A container wrote something."""
        held = self.pool.wrote(container.id)
        source = ""
        if held is not None and held.size == 1:
            source = input_id(held.pack.call_id, held.pack.first)
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
        self.do(self.pool.lives.begun(container_id, container.pid, time.monotonic()))
        self._beats.changed()

    def _on_not_started(self, container_id: str, error: StartError) -> None:
        if error.final:
            info = ErrorInfo(kind="startup", message=str(error), container_id=container_id)
            self.do(self.pool.lives.failed(container_id, info, time.monotonic()))
        self._gone(container_id, Exit(reason=str(error), platform=True))

    def _gone(self, container_id: str, end: Exit) -> None:
        self.do(self.pool.lives.exited(container_id, end, time.monotonic()))
        self._containers.forget(container_id)

    # -- results ------------------------------------------------------------------------------------------

    def _on_stored(self, held: Held) -> None:
        self.do(self.pool.stored(held, time.monotonic()))
        if held.has_blobs:
            self._blobs.forget(held.args)
            done = [arg for i, arg in enumerate(held.pack.args, held.pack.first) if i not in held.going_on]
            self._delete_blobs(done)

    def _on_not_stored(self, held: Held) -> None:
        self.do(self.pool.store_failed(held, time.monotonic()))

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

    def _delete_blobs(self, refs: list[bytes | BlobRef]) -> None:
        try:
            slow = self._blobs.delete_quick(refs)
        except (OSError, ValueError) as error:
            log.warning("blobs not removed; they lapse", error=str(error))
        else:
            if slow:
                self._tasks.start_soon(self._blobs.delete, slow)

    # -- instructions ---------------------------------------------------------------------------------------

    def _pull(self, pull: Pull) -> None:
        record = self.pool.functions[pull.function_id].record
        self._puller.pull(record, pull.lane, pull.more)

    def _send(self, send: Send) -> None:
        live = self._containers.live[send.container_id]
        container = live.container
        if container is None:
            return  # its start was given up
        frame = send.frame
        held = None
        if isinstance(frame, Run):
            state = self.pool.containers[send.container_id]
            held = state.running.get(frame.token)
            if held is not None:
                self._note_run(send.container_id, held)
            else:
                held = state.ahead[frame.token]
        try:
            container.send(frame)
        except LinkFullError as error:
            container.kill(str(error))
        if held is not None:
            self._results.expect(held)
        self._beats.busy()

    def _note_run(self, container_id: str, held: Held) -> None:
        """A container begins with a pack."""
        self._estate.runs(held.delivery)
        if next(iter(self.pool.containers[container_id].running.values())) is held:
            # The last lines in an error are of its own pack.
            self._containers.live[container_id].log.tail.clear()

    def _settle(self, settle: Settle) -> None:
        self._results.settle(settle)
        self._acks.send()
        self._beats.busy()
        if settle.moved:
            self._herald.wake(settle.held)

    def _interrupt(self, interrupt: Interrupt) -> None:
        container = self._containers.live[interrupt.container_id].container
        if container is not None:
            container.interrupt()

    def _report(self, report: Report) -> None:
        self._herald.report(report, self._containers.live[report.container_id].record)
        self._beats.changed()

    def _forget(self, nak: Nak) -> None:
        if nak.held is not None and nak.held.has_blobs:
            self._blobs.forget(nak.held.args)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self.pool.next_tick
        wait = max(_MIN_WAIT_S, self._armed - time.monotonic())
        self._timer = self._loop.call_later(wait, self._tick)

    def _tick(self) -> None:
        self._armed = inf
        self.do(self.pool.tick(time.monotonic()))


def _with_tails(frame: ResultsFrame, tail: tuple[str, ...]) -> ResultsFrame:
    """Return the frame with the last log lines in the errors of user code that asked to exit."""
    results = [
        replace(r, error=replace(r.error, log_tail=tail)) if r.error and r.error.kind == "exit" else r
        for r in frame.results
    ]
    return replace(frame, results=tuple(results))
