"""The guest's end of the link, for the main thread of a container that runs synchronous functions."""

import os
import select
import socket
from typing import Any, Final

from afield._guest.errors import LinkClosedError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._wire.codec import WireError
from afield._wire.guest import TO_GUEST

READ_SIZE: Final = 64 * 1024
"""Bytes per read: below the size at which malloc maps fresh memory for each."""


class Link:
    """A blocking socket that carries frames. It belongs to the process that made it, and not to its forks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder(TO_GUEST)
        self._pushed_back: list[Any] = []
        self._owner = os.getpid()
        os.register_at_fork(after_in_child=self.close)

    def receive(self) -> list[Any]:
        """Wait for frames and return those that came, one at least.

        Raises LinkClosedError when the worker is gone, or sent what is no frame.
        """
        messages, self._pushed_back = self._pushed_back, []
        while not messages:
            messages = self._read(0)
        return messages

    def poll(self) -> list[Any]:
        """Return the frames that have come, without waiting."""
        messages, self._pushed_back = self._pushed_back, []
        while True:
            try:
                messages += self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages

    def wait(self) -> None:
        """Wait until there is something to read, be it the end."""
        if self._pushed_back:
            return
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        poller.poll()

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, *messages: Any) -> None:
        """Send frames, all in one piece. Raises LinkClosedError when the worker is gone."""
        data = pack_frame(messages[0]) if len(messages) == 1 else b"".join(map(pack_frame, messages))
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise LinkClosedError(f"the link to the worker is closed: {error}") from error

    def close(self) -> None:
        """Close this process's descriptor of the link."""
        self._sock.close()

    def push_back(self, messages: list[Any]) -> None:
        """Give back frames that were received and are for somebody else; the next to read gets them."""
        self._pushed_back = messages

    def duplicate(self) -> int:
        """Return a descriptor of the same link. Raises LinkClosedError when user code has closed this end."""
        try:
            return os.dup(self._sock.fileno())
        except OSError as error:
            raise LinkClosedError(f"the link to the worker is closed: {error}") from error

    def inherit(self, other: "Link") -> None:
        """Go on where another end of the same link stopped reading."""
        self._decoder, self._pushed_back = other._decoder, other._pushed_back

    def hand_over(self) -> tuple[socket.socket, FrameDecoder, list[Any]]:
        """Return the socket, what came of a frame not yet complete, and frames given back: for an event loop."""
        return self._sock, self._decoder, self._pushed_back

    @property
    def is_ours(self) -> bool:
        """Tell whether this process is the container, not a process that user code forked from it."""
        return os.getpid() == self._owner

    def _read(self, flags: int) -> list[Any]:
        try:
            data = self._sock.recv(READ_SIZE, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise LinkClosedError(f"the link to the worker is closed: {error}") from error
        if not data:
            raise LinkClosedError("the worker closed the link")
        try:
            return self._decoder.feed(data)
        except WireError as error:
            raise LinkClosedError(f"the worker sent what is no frame: {error}") from error
