"""What a worker that is killed leaves to the next one on its host: the deliveries that it held.

A worker notes the reply subject of each delivery in a file that is mapped into its memory. That costs a microsecond, and
the kernel keeps what was written however the process ends. The next worker sends the deliveries back, so that they run
again as soon as it is up, not after the ack wait of their consumers. And it learns which of them ran: an input that takes
its worker with it each time would otherwise run for ever.
"""

import mmap
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from afield._bus.delivery import Delivery, message_of
from afield._wire.streams import ACK_WAIT

FILE: Final = ".held"
"""Name of the file in a worker's folder."""

SLOTS: Final = 4096
"""Deliveries that can be noted; those beyond wait for their ack wait."""

SLOT_BYTES: Final = 256
"""One byte for the length of the reply subject, one that says whether a container has the pack, one for the deaths of workers
that ran it before, the time of the delivery, and the subject."""

SAFE_S: Final = ACK_WAIT - 2.0
"""Seconds after a delivery, or the last report of progress, in which its ack wait has not passed. Later it may be another
worker's, and to send it back would take it from there."""

_RUNS_AT: Final = 1
_DEATHS_AT: Final = 2
_MOST_DEATHS: Final = 255
_STAMP: Final = struct.Struct("=d")
_STAMP_AT: Final = 8
_REPLY_AT: Final = _STAMP_AT + _STAMP.size
_REPLY_BYTES: Final = SLOT_BYTES - _REPLY_AT


class Estate:
    """The deliveries that this worker holds, in a file. Must be closed."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, SLOT_BYTES * (SLOTS + 1))
            self._map = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        self._free = list(range(SLOTS * SLOT_BYTES, 0, -SLOT_BYTES))
        self._slots: dict[str, int] = {}
        """By the subject of the input: of several deliveries of one message only the latest is acknowledged."""
        self.alive()

    def hold(self, delivery: Delivery, deaths: int = 0) -> None:
        """Note a delivery; in place of an earlier one of the same message. `deaths`: of workers that ran it before."""
        reply = delivery.reply.encode()
        slot = self._slots.get(delivery.subject)
        held = self._map
        if slot is None:
            if not self._free or len(reply) > _REPLY_BYTES:
                return
            slot = self._slots[delivery.subject] = self._free.pop()
            held[slot + _RUNS_AT] = 0
            held[slot + _DEATHS_AT] = min(deaths, _MOST_DEATHS)
        held[slot] = 0  # a torn subject is never taken for a whole one
        _STAMP.pack_into(held, slot + _STAMP_AT, time.monotonic())
        held[slot + _REPLY_AT : slot + _REPLY_AT + len(reply)] = reply
        held[slot] = len(reply)

    def runs(self, delivery: Delivery) -> None:
        """Note that a container has it now."""
        slot = self._slots.get(delivery.subject)
        if slot is not None:
            self._map[slot + _RUNS_AT] = 1

    def release(self, delivery: Delivery) -> None:
        """Forget a delivery: it was acknowledged, or sent back."""
        slot = self._slots.pop(delivery.subject, None)
        if slot is not None:
            self._map[slot] = 0
            self._free.append(slot)

    def alive(self) -> None:
        """Note that the ack waits of all that is held begin anew."""
        _STAMP.pack_into(self._map, 0, time.monotonic())

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


class Left(NamedTuple):
    """What a dead worker left."""

    worker_id: str
    replies: tuple[str, ...] = ()
    """Reply subjects of deliveries that can be sent back."""
    deaths: Mapping[str, int] = MappingProxyType({})
    """How many workers, this one included, died while they ran a message (see `message_of`)."""


def read(folder: Path) -> Left:
    """Return what the worker of a folder, which is dead, left there. Blocks."""
    try:
        data = (folder / FILE).read_bytes()
        (progress,) = _STAMP.unpack_from(data)
    except (OSError, struct.error):  # it died before it wrote anything
        return Left(folder.name)
    now = time.monotonic()
    replies, deaths = [], {}
    for slot in range(SLOT_BYTES, len(data), SLOT_BYTES):
        size = data[slot]
        if not size:
            continue
        reply = data[slot + _REPLY_AT : slot + _REPLY_AT + size].decode(errors="replace")
        try:
            message = message_of(reply)
        except ValueError:  # no delivery's: the file is damaged
            continue
        if died := data[slot + _DEATHS_AT] + data[slot + _RUNS_AT]:
            deaths[message] = died
        (delivered,) = _STAMP.unpack_from(data, slot + _STAMP_AT)
        if 0 <= now - max(progress, delivered) < SAFE_S:
            replies.append(reply)
    return Left(folder.name, tuple(replies), deaths)
