"""Payloads over the inline limit, between the guest's files and the blobs that callers see."""

import mmap
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

from afield._bus.blobs import BlobStore
from afield._bus.errors import BlobNotFoundError, BusError
from afield._bus.files import FileTier
from afield._wire.messages import BlobRef
from afield_common.log import get_logger

log = get_logger(__name__)


class WrongHostError(Exception):
    """Raised when arguments lie in the file tier of another host: a worker there can run the input."""


class Blobs:
    """Brings arguments to this host, and values to where their caller can read them.

    `guest_dir` is a folder of this worker on the file system of the file tier.
    """

    def __init__(self, files: FileTier, store: BlobStore, host: str, guest_dir: Path) -> None:
        self._files = files
        self._store = store
        self._host = host
        self.guest_dir = guest_dir
        """Where guests write, and where arguments from other hosts are put."""

    async def localize(self, args: tuple[bytes | BlobRef, ...], call_id: str) -> tuple[bytes | BlobRef, ...]:
        """Return arguments as the guest takes them: inline, or as files of this host with absolute paths.

        Raises WrongHostError, BlobNotFoundError, BusError, OSError; then nothing is left behind.
        """
        local = list(args)
        try:
            for i, arg in enumerate(args):
                if isinstance(arg, BlobRef):
                    local[i] = await self._fetch(arg, call_id)
        except BaseException:
            self.forget(local)
            raise
        return tuple(local)

    def forget(self, local: Iterable[bytes | BlobRef]) -> None:
        """Remove files of guests, and those that `localize` made."""
        for arg in local:
            if isinstance(arg, BlobRef) and Path(arg.name).parent == self.guest_dir:
                Path(arg.name).unlink(missing_ok=True)

    def adopt(self, made: BlobRef, call_id: str) -> BlobRef:
        """Move a file that a guest made into the file tier, for callers on this host. Raises OSError."""
        return self._files.adopt(Path(made.name), call_id=call_id)

    async def upload(self, made: BlobRef, call_id: str) -> BlobRef:
        """Store a file that a guest made in the stream tier, for callers elsewhere. Raises BusError, OSError."""
        with _mapped(Path(made.name)) as data:
            stored = await self._put(data, call_id)
        self.forget([made])
        return stored

    async def spill(self, data: bytes, call_id: str, caller_host: str) -> BlobRef:
        """Store a value that would fit inline, but not together with its neighbours. Raises BusError, OSError."""
        if caller_host == self._host:
            return self._files.write([data], call_id=call_id)
        return await self._put(data, call_id)

    def near(self, caller_host: str) -> bool:
        """Tell whether a caller reads the file tier of this host."""
        return caller_host == self._host

    def delete_quick(self, refs: Iterable[bytes | BlobRef | None]) -> list[BlobRef]:
        """Remove small files of this host; returns what is left for `delete`. Raises OSError."""
        return [ref for ref in refs if isinstance(ref, BlobRef) and not self._files.delete_if_quick(ref)]

    async def delete(self, refs: Iterable[bytes | BlobRef | None]) -> None:
        """Remove blobs that nobody needs any more; those of other hosts' file tiers are swept there.

        Raises nothing: what cannot be removed lapses, or is swept.
        """
        for ref in refs:
            if isinstance(ref, BlobRef):
                try:
                    await self._delete(ref)
                except (BusError, OSError, ValueError) as error:
                    log.warning("blob not removed; it lapses", blob=ref.name, error=str(error))

    async def _delete(self, ref: BlobRef) -> None:
        if ref.tier == "stream":
            await self._store.delete(ref.name)
        elif ref.host == self._host:
            # The file system may take a while to free a large file.
            await anyio.to_thread.run_sync(self._files.delete, ref)

    async def _fetch(self, ref: BlobRef, call_id: str) -> BlobRef:
        if ref.tier == "file":
            if ref.host != self._host:
                raise WrongHostError(
                    f"the arguments lie on host {ref.host!r}, this worker is on {self._host!r}"
                )
            path = self._files.path(ref)
            if not path.exists():
                raise BlobNotFoundError(f"the arguments are not in the blob folder (any more): {ref.name}")
            return BlobRef(tier="file", name=str(path), size=ref.size)
        path = self.guest_dir / f"{call_id}.{secrets.token_hex(8)}"
        await self._store.get_to_file(ref.name, path)
        return BlobRef(tier="file", name=str(path), size=ref.size)

    async def _put(self, data: bytes | memoryview, call_id: str) -> BlobRef:
        name = f"{call_id}.{secrets.token_hex(12)}"
        digest = await self._store.put(name, [data])
        return BlobRef(tier="stream", name=name, size=len(data), sha256=digest)


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        try:
            yield view
        finally:
            view.release()
