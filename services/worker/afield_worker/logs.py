"""The output of containers on its way to the bus: batched, in order, bounded, with the last lines kept for errors."""

import asyncio
import time
from collections import deque
from typing import Final, Literal, Protocol

from afield._bus.connection import Bus
from afield._bus.errors import BusBufferFullError
from afield._wire.codec import encode
from afield._wire.messages import LogBatch, LogRecord

Stream = Literal["stdout", "stderr"]

FLUSH_S: Final = 0.02
"""Seconds that output waits for more."""

FLUSH_BYTES: Final = 64 * 1024
"""Bytes that do not wait."""

BATCH_BYTES: Final = 256 * 1024
"""Bytes of output in one message."""

PAUSE_BYTES: Final = 2 * 2**20
"""Bytes of one container that wait while the bus cannot take them; then its pipes are not read for a while."""

PAUSE_S: Final = 2.0
"""Seconds for which user code may be blocked by that; from then on its output is taken again, and dropped beyond"""

BACKLOG_BYTES: Final = 8 * 2**20
"""bytes of backlog. What is dropped is counted, and told in the log."""

TAIL_LINES: Final = 20
TAIL_BYTES: Final = 16 * 1024
_TAIL_LINE: Final = 1000


class LogTail:
    """The end of what a container wrote."""

    __slots__ = ("_chunks", "_size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take in more output."""
        if len(data) > TAIL_BYTES:
            data = data[-TAIL_BYTES:]
        self._chunks.append(data)
        self._size += len(data)
        while self._size - len(self._chunks[0]) >= TAIL_BYTES:
            self._size -= len(self._chunks.popleft())

    def clear(self) -> None:
        """Forget what was written so far: errors to come have nothing to do with it."""
        self._chunks.clear()
        self._size = 0

    def lines(self) -> tuple[str, ...]:
        """Return the last lines as text, without their ends."""
        text = b"".join(self._chunks).decode(errors="replace")
        return tuple(line[:_TAIL_LINE] for line in text.splitlines()[-TAIL_LINES:])


class Tap(Protocol):
    """What the output comes from (a Container)."""

    def pause_output(self) -> None:
        """Leave what comes to the pipes, which blocks their writers when they are full."""

    def resume_output(self) -> None:
        """Read the pipes again."""


class ContainerLog:
    """The output of one container. Made by Logs."""

    def __init__(self, logs: "Logs", subject: str, container_id: str, function_id: str) -> None:
        self._logs = logs
        self._subject = subject
        self._container_id = container_id
        self._function_id = function_id
        self._records: deque[LogRecord] = deque()
        self._size = 0
        self._dropped = 0
        self._paused: tuple[Tap, float] | None = None
        self._patient = True
        self.tail = LogTail()

    def write(self, tap: Tap, stream: Stream, data: bytes, input_id: str) -> None:
        """Take in output; it is sent soon. `input_id` is empty where nobody knows which input it belongs to."""
        self.tail.add(data)
        if self._size + len(data) > BACKLOG_BYTES:
            self._dropped += len(data)
            return
        at = time.time()
        for start in range(0, len(data), BATCH_BYTES):
            piece = data[start : start + BATCH_BYTES] if len(data) > BATCH_BYTES else data
            self._records.append(LogRecord(at=at, stream=stream, data=piece, input_id=input_id))
        self._size += len(data)
        if self._size >= FLUSH_BYTES and self._logs.ready:
            self.flush()
        else:
            self._logs.flush_soon(self)
            if self._size >= PAUSE_BYTES and self._patient and self._paused is None:
                self._paused = tap, time.monotonic()
                tap.pause_output()

    def unblock(self) -> None:
        """Let user code go on when it was held up for PAUSE_S; until the backlog is sent, it is not held up again."""
        if self._paused is not None and time.monotonic() - self._paused[1] >= PAUSE_S:
            self._patient = False
            self._resume()

    def _resume(self) -> None:
        if self._paused is not None:
            tap, self._paused = self._paused[0], None
            tap.resume_output()

    @property
    def pending(self) -> bool:
        """Tell whether something waits to be sent."""
        return bool(self._records) or self._dropped > 0

    def flush(self) -> None:
        """Send everything, in order. Before a result, this is what puts the output in front of it."""
        while self._records:
            batch = self._take_batch()
            try:
                self._logs.send(self._subject, self._encode(batch))
            except BusBufferFullError:
                self._dropped += sum(len(record.data) for record in batch)
        self._patient = True
        self._resume()
        if self._dropped and self._logs.ready:
            notice = f"[afield: {self._dropped:,} bytes of output were dropped here: more came than the bus could take]\n"
            record = LogRecord(at=time.time(), stream="system", data=notice.encode())
            self._dropped = 0
            self._logs.send(self._subject, self._encode([record]))

    def _take_batch(self) -> list[LogRecord]:
        """Remove and return records that fit into one message; neighbours of a kind become one."""
        batch: list[LogRecord] = []
        parts: list[bytes] = []
        size = 0
        while self._records and (not batch or size + len(self._records[0].data) <= BATCH_BYTES):
            record = self._records.popleft()
            size += len(record.data)
            if batch and batch[-1].stream == record.stream and batch[-1].input_id == record.input_id:
                parts.append(record.data)
                continue
            _join_last(batch, parts)
            batch.append(record)
            parts = [record.data]
        _join_last(batch, parts)
        self._size -= size
        return batch

    def _encode(self, batch: list[LogRecord]) -> bytes:
        return encode(
            LogBatch(container_id=self._container_id, function_id=self._function_id, records=tuple(batch))
        )


class Logs:
    """The logs of all containers of a worker, with one timer for all."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._waiting: set[ContainerLog] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> bool:
        """Tell whether the bus takes more now."""
        return self._bus.connected and not self._bus.nc.congested

    def open(self, subject: str, container_id: str, function_id: str) -> ContainerLog:
        """Return the log of a new container."""
        return ContainerLog(self, subject, container_id, function_id)

    def send(self, subject: str, payload: bytes) -> None:
        """Publish a batch. Raises BusBufferFullError."""
        self._bus.send(subject, payload)

    def flush_soon(self, log: ContainerLog) -> None:
        """Flush a log when it has waited for FLUSH_S, or when the bus can take it."""
        self._waiting.add(log)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def close(self) -> None:
        """Send what waits, whether the bus is ready or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for log in self._waiting:
            log.flush()
        self._waiting.clear()

    def _flush(self) -> None:
        self._timer = None
        for log in [log for log in self._waiting if not log.pending]:
            self._waiting.discard(log)
        for log in list(self._waiting):
            if not self.ready:
                break
            log.flush()
            self._waiting.discard(log)
        for log in self._waiting:
            log.unblock()
        if self._waiting:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)


def _join_last(batch: list[LogRecord], parts: list[bytes]) -> None:
    if batch and len(parts) > 1:
        last = batch[-1]
        batch[-1] = LogRecord(at=last.at, stream=last.stream, data=b"".join(parts), input_id=last.input_id)
