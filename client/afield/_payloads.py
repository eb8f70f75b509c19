"""Payloads on their way: inline, in a file that this host shares with its workers, or in the bucket TMP."""

from pathlib import Path
from typing import Final, TypeGuard

import anyio.to_thread

from afield._bus.blobs import BlobStore
from afield._bus.connection import Bus
from afield._bus.files import FileTier
from afield._no_room import write_failure
from afield._wire.ids import random_body
from afield._wire.messages import BlobRef
from afield._wire.streams import INLINE_LIMIT
from afield.embedded import PlatformAddress
from afield.exception import DataLossError
from afield.serialization import Buffer, Serialized

_BUCKET: Final = "TMP"


class Payloads:
    """Stores and fetches what is larger than INLINE_LIMIT. The file tier is used where the platform shares a folder."""

    def __init__(self, address: PlatformAddress, bus: Bus) -> None:
        shared = bool(address.blob_dir and address.host)
        self._folder = Path(address.blob_dir)
        self._files = FileTier(self._folder, address.host) if shared else None
        self._stream = BlobStore(bus, _BUCKET)
        self.host = address.host if shared else ""
        """Host id that workers may leave files for, or empty."""

    async def store(self, data: Serialized, call_id: str) -> bytes | BlobRef:
        """Return the payload as it may travel: inline, or the reference to a blob that now holds it.

        Raises ResourceExhaustedError when the disk is full, InternalError when it cannot be written for another reason.
        """
        if data.size <= INLINE_LIMIT:
            return data.join()
        if self._files is not None:
            return await anyio.to_thread.run_sync(self.write, data, call_id)
        name = f"{call_id}.{random_body()}"
        digest = await self._stream.put(name, data.parts)
        return BlobRef(tier="stream", name=name, size=data.size, sha256=digest)

    def is_near(self, payload: bytes | BlobRef | None) -> TypeGuard[BlobRef]:
        """Tell whether a payload lies in a file of this host: `map` reads it."""
        return (
            isinstance(payload, BlobRef)
            and payload.tier == "file"
            and self._files is not None
            and payload.host == self.host
        )

    def write(self, data: Serialized, call_id: str) -> BlobRef:
        """Store a payload in a file, where `host` is not empty. Blocking, from any thread. Raises as `store`."""
        assert self._files is not None
        try:
            return self._files.write(data.parts, call_id=call_id)
        except OSError as error:
            raise write_failure(error, data.size, str(self._folder)) from error

    def map(self, payload: BlobRef) -> Buffer:
        """Return the bytes of a payload that is near. From any thread. Raises BlobNotFoundError, BlobCorruptError."""
        assert self._files is not None
        return self._files.open(payload)

    async def fetch(self, payload: bytes | BlobRef, *, keep: bool) -> Buffer:
        """Return a payload's bytes. Without `keep` the blob is removed; a mapped file stays readable all the same.

        Raises BlobNotFoundError when the blob is gone, DataLossError when it lies on another host.
        """
        if isinstance(payload, bytes):
            return payload
        if payload.tier == "stream":
            data = await self._stream.get(payload.name)
            if not keep:
                await self._stream.delete(payload.name)
            return data
        if self._files is None or payload.host != self.host:
            raise DataLossError(
                f"the value of {payload.size:,} bytes lies in a file of host {payload.host!r}, which this process "
                f"does not share; set AFIELD_BLOB_DIR and AFIELD_HOST if it does, or make the call from there"
            )
        view = self._files.open(payload)
        if not keep:
            self._files.delete(payload)  # takes no time while it is mapped
        return view

    async def discard(self, payload: BlobRef) -> None:
        """Remove a blob; harmless if it is gone."""
        if payload.tier == "stream":
            await self._stream.delete(payload.name)
        elif self._files is not None and payload.host == self.host and not self.discard_if_quick(payload):
            await anyio.to_thread.run_sync(self._files.delete, payload)

    def discard_if_quick(self, payload: BlobRef) -> bool:
        """Remove a small file, from any thread; tells whether it was one."""
        return self._files is not None and self._files.delete_if_quick(payload)
