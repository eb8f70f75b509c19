"""The template's end of its control socket: frames with descriptors in, frames out."""

import array
import os
import socket
from collections import deque
from typing import Any, Final

from afield._guest.errors import LinkClosedError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._wire.guest import TO_TEMPLATE

DESCRIPTORS: Final = 3
"""That travel with each Fork: link, stdout, stderr."""

SNAPSHOT_DESCRIPTORS: Final = 4
"""That travel with a Fork that asks for a snapshot: a control socket comes last."""

_MAX_DESCRIPTORS: Final = 253
"""That Linux passes in one message."""


class ControlSocket:
    """A blocking stream socket to the worker."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        self._decoder = FrameDecoder(TO_TEMPLATE)
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._sock.fileno()

    def receive(self) -> list[Any]:
        """Read once and return the messages that are complete. Raises LinkClosedError when the worker is gone."""
        size = _MAX_DESCRIPTORS * array.array("i").itemsize
        try:
            data, ancillary, _, _ = self._sock.recvmsg(
                64 * 1024, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError as error:
            raise LinkClosedError(f"the worker is gone: {error}") from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received = array.array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                self._descriptors.extend(received)
        if not data:
            raise LinkClosedError("the worker closed the control socket")
        return self._decoder.feed(data)

    def take_descriptors(self, number: int) -> list[int]:
        """Return the descriptors of the next Fork: they arrive in the order of the frames."""
        return [self._descriptors.popleft() for _ in range(min(number, len(self._descriptors)))]

    def send(self, message: Any) -> None:
        """Send a message. Raises LinkClosedError when the worker is gone."""
        try:
            self._sock.sendall(pack_frame(message))
        except ConnectionError as error:
            raise LinkClosedError(f"the worker is gone: {error}") from error

    def close(self) -> None:
        """Close the socket and the descriptors that no Fork has taken yet."""
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
