"""The blobs of a worker."""

from pathlib import Path

import pytest

from afield._bus.blobs import BlobStore
from afield._bus.errors import BusTimeoutError
from afield._bus.files import FileTier
from afield._wire.messages import BlobRef
from afield_worker.blobs import Blobs

pytestmark = pytest.mark.anyio


class Unreachable(BlobStore):
    """A bucket whose server does not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def delete(self, name: str) -> None:
        """Wait in vain."""
        self.asked.append(name)
        raise BusTimeoutError("no answer")


async def test_what_cannot_be_removed_keeps_nothing_else(tmp_path: Path) -> None:
    """Nor is it an error of those who asked: it lapses. They ask in tasks of the worker, which would end it."""
    store = Unreachable()
    files = FileTier(tmp_path / "blobs", "here")
    blobs = Blobs(files, store, "here", tmp_path)
    ours = files.write([b"x" * 100], call_id="fc-1")
    broken = BlobRef(tier="file", name="../outside", size=1, host="here")

    await blobs.delete([BlobRef(tier="stream", name="fc-1.a", size=1), broken, ours, b"inline", None])

    assert store.asked == ["fc-1.a"]
    assert not files.path(ours).exists()
