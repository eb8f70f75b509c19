"""A link's end on an asyncio loop: callbacks, no task and no future per frame."""

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from afield._guest.errors import LinkFullError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._guest.link import READ_SIZE
from afield._wire.codec import WireError

MAX_PENDING: Final = 256 * 2**20
"""Bytes that may wait for a slow peer: four frames of the largest size."""

LOW_WATER: Final = 1 * 2**20
"""Bytes below which `drained` lets a producer go on."""

_BUFFERS: Final = 64
"""Frames that go out in one system call."""


class FrameChannel:
    """Reads and writes frames on a connected stream socket, which it owns and closes.

    `on_frame(message)` is called for each frame, in order; `on_close(error)` once, when the peer is gone (None), when
    it sent what is no frame (the WireError), or when `on_frame` raised. Neither is called before `start` or after
    `close`.
    """

    def __init__(
        self,
        sock: socket.socket,
        classes: Mapping[str, type[Any]],
        on_frame: Callable[[Any], None],
        on_close: Callable[[Exception | None], None],
        *,
        decoder: FrameDecoder | None = None,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._decoder = decoder or FrameDecoder(classes)
        self._on_frame = on_frame
        self._on_close = on_close
        self._queue: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._drained = asyncio.Event()
        self._drained.set()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._reading = False
        self._stuck = False
        """Whether the loop tells when the kernel takes more."""
        self._gathering = False
        """Whether a frame went out in this loop step, so that further ones wait for its end."""
        self.pending = 0
        """Bytes that the kernel has not taken yet."""
        self.closed = False

    def start(self) -> None:
        """Begin to read."""
        if not self.closed and not self._reading:
            self._reading = True
            self._loop.add_reader(self._sock, self._on_readable)

    def send(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Send a message, with descriptors that this channel closes when they are sent.

        The first one of a loop step goes out at once, the others together at its end: a system call that wakes the peer
        costs more than all else. What the kernel does not take waits here. A message to a peer that is gone is dropped: `on_close`
        tells. Raises FrameTooLargeError, or LinkFullError past MAX_PENDING.
        """
        if self.closed:
            _close_all(fds)
            return
        frame = memoryview(pack_frame(message))
        if self.pending + len(frame) > MAX_PENDING:
            raise LinkFullError(self.pending + len(frame), MAX_PENDING)
        self._queue.append((frame, fds))
        self.pending += len(frame)
        if self._gathering:
            self._flushed.clear()
        elif len(self._queue) == 1:
            self._gathering = True
            self._write()
            self._loop.call_soon(self._send_gathered)

    def push(self) -> None:
        """Send now what this loop step has gathered, as far as the kernel takes it: the peer is about to be told to look."""
        if self._gathering and self._queue and not self.closed:
            self._write()

    async def drained(self) -> None:
        """Wait until less than LOW_WATER bytes wait for the peer, or there is no peer."""
        await self._drained.wait()

    async def flushed(self) -> None:
        """Wait until nothing waits for the peer, or there is no peer."""
        await self._flushed.wait()

    def read_now(self) -> None:
        """Read what has arrived, before it is announced."""
        while not self.closed and self._read():
            pass

    def close(self) -> None:
        """Close the socket; what the kernel does not take at once is dropped."""
        if self.closed:
            return
        self._send_gathered()
        self.closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        self.pending = 0
        self._drained.set()
        self._flushed.set()
        self._sock.close()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once and pass on what is complete; tell whether there was anything."""
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self._end(None)
            return False
        try:
            messages = self._decoder.feed(data)
        except WireError as error:
            self._end(error)
            return False
        for message in messages:
            try:
                self._on_frame(message)
            except (
                Exception
            ) as fault:  # a bug of ours: the frames behind it must not be taken as if nothing were
                self._end(fault)
                return False
            if self.closed:
                return False
        return True

    def _end(self, error: Exception | None) -> None:
        self.close()
        self._on_close(error)

    def _write(self) -> None:
        while self._queue:
            try:
                sent = self._send_some()
            except BlockingIOError:
                break
            except OSError:
                # The reader sees the end of the stream too, behind the frames that the peer sent before it went.
                self._discard()
                break
            self._consume(sent)
        if self.pending < LOW_WATER:
            self._drained.set()
        else:
            self._drained.clear()
        if self._queue:
            self._flushed.clear()
            if not self._stuck:
                self._stuck = True
                self._loop.add_writer(self._sock, self._write)
            return
        self._flushed.set()
        if self._stuck:
            self._stuck = False
            self._loop.remove_writer(self._sock)

    def _send_gathered(self) -> None:
        """The loop step is over."""
        self._gathering = False
        if self._queue and not self.closed:
            self._write()

    def _send_some(self) -> int:
        frame, fds = self._queue[0]
        if fds:
            rights = array.array("i", fds)
            return self._sock.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        if len(self._queue) == 1:
            return self._sock.send(frame)
        batch: list[memoryview] = []
        for frame, fds in self._queue:
            if fds or len(batch) == _BUFFERS:
                break
            batch.append(frame)
        return self._sock.sendmsg(batch)

    def _consume(self, sent: int) -> None:
        self.pending -= sent
        while sent:
            frame, fds = self._queue.popleft()
            _close_all(fds)  # they travel with the first byte
            if sent < len(frame):
                self._queue.appendleft((frame[sent:], ()))
                return
            sent -= len(frame)

    def _discard(self) -> None:
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        self.pending = 0


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
