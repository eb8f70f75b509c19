"""Payloads on the guest's side: small ones inline, large ones as files that the worker shares."""

import mmap
import os
import secrets
from collections.abc import Sequence

from afield._bus.writing import Bytes, write_file
from afield._no_room import write_failure
from afield._wire.messages import BlobRef
from afield._wire.streams import INLINE_LIMIT
from afield.exception import Error, InternalError


class PayloadError(Exception):
    """Raised when a payload could not be read from or written to the blob folder: the host's fault.

    `told`: the error that its user gets.
    """

    def __init__(self, told: Error | str) -> None:
        super().__init__(str(told))
        self.told = InternalError(told) if isinstance(told, str) else told


def read_payload(payload: bytes | BlobRef) -> bytes | memoryview:
    """Return the bytes of an argument; a file is mapped, privately and writable, not copied.

    Raises PayloadError when the file is not there, or is not of the stated size.
    """
    if isinstance(payload, bytes):
        return payload
    if payload.tier != "file":
        raise PayloadError(f"expected inline bytes or a file, got a blob of tier {payload.tier!r}")
    try:
        with open(payload.name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != payload.size:
                raise PayloadError(f"expected {payload.size} bytes in {payload.name}, got {size}")
            # The file may be removed while it is mapped; a write of user code goes to a copy of the page.
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except OSError as error:
        raise PayloadError(f"could not map {payload.name}: {error}") from error


def write_payload(parts: Sequence[Bytes], size: int, *, blob_dir: str, call_id: str) -> bytes | BlobRef:
    """Return `parts` joined, or, over INLINE_LIMIT, a reference to a new file that holds them.

    Raises PayloadError when the file cannot be written; nothing is left of it then.
    """
    if size <= INLINE_LIMIT:
        return b"".join(parts)
    path = os.path.join(blob_dir, f"{call_id}.{secrets.token_hex(8)}")
    try:
        write_file(path, parts)
    except OSError as error:
        raise PayloadError(write_failure(error, size, blob_dir)) from error
    return BlobRef(tier="file", name=path, size=size)
