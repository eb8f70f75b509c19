"""The output of containers on its way to the bus."""

from typing import cast

import pytest

from afield._bus.connection import Bus
from afield._bus.errors import BusBufferFullError
from afield._wire.codec import decode
from afield._wire.messages import LogBatch, LogRecord
from afield_worker.logs import (
    BACKLOG_BYTES,
    BATCH_BYTES,
    FLUSH_BYTES,
    PAUSE_BYTES,
    ContainerLog,
    Logs,
    LogTail,
)
from support.waiting import until

pytestmark = pytest.mark.anyio


class Socket:
    """A bus whose socket keeps up, or not."""

    def __init__(self) -> None:
        self.connected = True
        self.congested = False
        self.full = False
        self.sent: list[LogBatch] = []

    @property
    def nc(self) -> "Socket":
        return self

    def send(self, subject: str, payload: bytes) -> None:  # noqa: ARG002 - as Bus's
        """Take a batch."""
        if self.full:
            raise BusBufferFullError("full")
        self.sent.append(decode(LogBatch, payload))

    @property
    def records(self) -> list[LogRecord]:
        """All records that were sent."""
        return [record for batch in self.sent for record in batch.records]


class Tap:
    """A container whose pipes can be left alone."""

    def __init__(self) -> None:
        self.paused = False

    def pause_output(self) -> None:
        self.paused = True

    def resume_output(self) -> None:
        self.paused = False


@pytest.fixture
def bus() -> Socket:
    """A bus that keeps up."""
    return Socket()


@pytest.fixture
async def logs(bus: Socket) -> Logs:
    """The logs of a worker."""
    return Logs(cast("Bus", bus))


@pytest.fixture
async def log(logs: Logs) -> ContainerLog:
    """The log of one container."""
    return logs.open("log.main.ap-1.fu-1.ta-1", "ta-1", "fu-1")


async def test_output_is_sent_soon(bus: Socket, log: ContainerLog) -> None:
    """Without anybody asking for it, and with where it came from."""
    log.write(Tap(), "stdout", b"hello", "in-1")
    assert not bus.sent
    await until(lambda: bus.sent)
    (record,) = bus.records
    assert (record.stream, record.data, record.input_id) == ("stdout", b"hello", "in-1")


async def test_a_flush_sends_at_once(bus: Socket, log: ContainerLog) -> None:
    """So that output stands in front of a result."""
    log.write(Tap(), "stdout", b"hello", "")
    log.flush()
    assert len(bus.sent) == 1
    assert not log.pending


async def test_neighbours_of_a_kind_become_one_record(bus: Socket, log: ContainerLog) -> None:
    """The order of the streams among each other is kept."""
    tap = Tap()
    for stream, data in (("stdout", b"a"), ("stdout", b"b"), ("stderr", b"c"), ("stdout", b"d")):
        log.write(tap, "stderr" if stream == "stderr" else "stdout", data, "")
    log.flush()
    assert [(r.stream, r.data) for r in bus.records] == [
        ("stdout", b"ab"),
        ("stderr", b"c"),
        ("stdout", b"d"),
    ]


async def test_much_output_does_not_wait(bus: Socket, log: ContainerLog) -> None:
    """From 64 KiB on it is sent without delay."""
    log.write(Tap(), "stdout", b"x" * FLUSH_BYTES, "")
    assert len(bus.sent) == 1


async def test_messages_stay_small(bus: Socket, log: ContainerLog) -> None:
    """However much is written at once; nothing is lost."""
    log.write(Tap(), "stdout", b"x" * (3 * BATCH_BYTES + 1), "")
    log.flush()
    sizes = [sum(len(r.data) for r in batch.records) for batch in bus.sent]
    assert max(sizes) <= BATCH_BYTES
    assert sum(sizes) == 3 * BATCH_BYTES + 1


async def test_a_busy_bus_lets_user_code_wait(bus: Socket, log: ContainerLog) -> None:
    """The pipes are not read until the bus has taken what was read; nothing is lost."""
    bus.congested, tap = True, Tap()
    log.write(tap, "stdout", b"x" * PAUSE_BYTES, "")
    assert tap.paused
    bus.congested = False
    await until(lambda: not tap.paused)
    assert sum(len(r.data) for r in bus.records) == PAUSE_BYTES


async def test_what_is_dropped_is_counted_and_told(bus: Socket, log: ContainerLog) -> None:
    """Only beyond the stated bound."""
    bus.connected, tap = False, Tap()
    for _ in range(BACKLOG_BYTES // BATCH_BYTES + 2):
        log.write(tap, "stdout", b"x" * BATCH_BYTES, "")
    assert not bus.sent
    bus.connected = True
    await until(lambda: bus.sent)
    assert sum(len(r.data) for r in bus.records if r.stream == "stdout") == BACKLOG_BYTES
    (notice,) = [r.data for r in bus.records if r.stream == "system"]
    assert b"524,288 bytes of output were dropped" in notice


async def test_a_full_buffer_before_a_result_is_told_later(bus: Socket, log: ContainerLog) -> None:
    """The result must not wait for the log; the loss is counted."""
    bus.connected, bus.full = False, True
    log.write(Tap(), "stdout", b"lost", "")
    log.flush()
    bus.connected, bus.full = True, False
    log.write(Tap(), "stdout", b"found", "")
    log.flush()
    assert [r.stream for r in bus.records] == ["stdout", "system"]


async def test_closing_sends_the_rest(bus: Socket, logs: Logs, log: ContainerLog) -> None:
    """Whatever still waits when the worker stops."""
    log.write(Tap(), "stdout", b"last words", "")
    logs.close()
    assert [r.data for r in bus.records] == [b"last words"]


async def test_the_tail_keeps_the_last_lines() -> None:
    """Twenty of them, without their ends, whatever bytes they hold."""
    tail = LogTail()
    for number in range(100):
        tail.add(b"line %d\n" % number)
    tail.add(b"\xff half")
    assert len(tail.lines()) == 20
    assert tail.lines()[-2:] == ("line 99", "\ufffd half")


async def test_the_tail_forgets_what_is_over() -> None:
    """What was written before has nothing to do with an error to come."""
    tail = LogTail()
    tail.add(b"another call\n")
    tail.clear()
    assert tail.lines() == ()
    tail.add(b"this one\n")
    assert tail.lines() == ("this one",)


async def test_the_tail_is_bounded() -> None:
    """Also when there are no lines."""
    tail = LogTail()
    for _ in range(100):
        tail.add(b"x" * 10_000)
    assert sum(map(len, tail.lines())) <= 1000
