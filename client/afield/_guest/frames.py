"""Frames to bytes and back, without I/O: a 4-byte big-endian length and a message."""

import struct
from collections.abc import Mapping
from typing import Any, Final

from afield._guest.errors import FrameTooLargeError
from afield._wire.codec import WireError, decode_any, encode
from afield._wire.guest import HEADER_SIZE, MAX_FRAME

_HEADER: Final = struct.Struct(">I")


def pack_frame(message: Any) -> bytes:
    """Return the frame that carries a message. Raises FrameTooLargeError past MAX_FRAME."""
    body = encode(message)
    if len(body) > MAX_FRAME:
        raise FrameTooLargeError(len(body), MAX_FRAME)
    return _HEADER.pack(len(body)) + body


class FrameDecoder:
    """Collects bytes as they arrive and returns the messages that are complete."""

    def __init__(self, classes: Mapping[str, type[Any]]) -> None:
        self._classes = classes
        self._rest = bytearray()
        self._needed = 0
        """Bytes of `_rest` without which no further frame is complete."""

    def feed(self, data: bytes) -> list[Any]:
        """Return the messages completed by `data`.

        Raises WireError for a length over MAX_FRAME, or a frame that is none of the expected messages; the
        stream cannot be read any further then.
        """
        if not self._rest:
            messages, used = self._parse(memoryview(data))
            if used < len(data):
                self._rest += data[used:]
            return messages
        self._rest += data
        if len(self._rest) < self._needed:
            return []  # so that a large frame is not looked at again with each piece
        with memoryview(self._rest) as view:
            messages, used = self._parse(view)
        del self._rest[:used]
        return messages

    def _parse(self, view: memoryview) -> tuple[list[Any], int]:
        messages: list[Any] = []
        at, end = 0, len(view)
        while end - at >= HEADER_SIZE:
            (size,) = _HEADER.unpack_from(view, at)
            if size > MAX_FRAME:
                raise WireError(f"expected a frame of at most {MAX_FRAME} bytes, got the length {size}")
            self._needed = HEADER_SIZE + size
            if end - at < self._needed:
                break
            messages.append(decode_any(self._classes, view[at + HEADER_SIZE : at + self._needed]))
            at += self._needed
            self._needed = HEADER_SIZE
        return messages, at
