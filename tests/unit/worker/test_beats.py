"""The worker's record: put on changes, and removed at the end."""

from typing import cast

import anyio
import pytest

from afield._bus.errors import BusTimeoutError
from afield._bus.kv import Bucket
from afield._wire.codec import decode
from afield._wire.functions import WorkerRecord
from afield_worker.beats import Beats
from support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of the services."""
    return "asyncio", {"use_uvloop": True}


class FakeBucket:
    """Keeps what is put; fails as long as it is told to."""

    def __init__(self) -> None:
        self.puts: list[WorkerRecord] = []
        self.deleted: list[str] = []
        self.failing = False

    async def put(self, key: str, data: bytes, ttl: float | None = None) -> int:  # noqa: ARG002 - as Bucket's
        """Take a record."""
        if self.failing:
            raise BusTimeoutError("no answer")
        self.puts.append(decode(WorkerRecord, data))
        return len(self.puts)

    async def delete(self, key: str) -> None:
        """Remove a record."""
        self.deleted.append(key)


def record() -> WorkerRecord:
    """A worker."""
    return WorkerRecord(
        worker_id="wk-1", host="h", pid=1, started_at=0.0, cpus=1.0, memory_mib=1, runners=("process",)
    )


async def test_changes_are_gathered_into_one_put() -> None:
    """Many at once cost as much as one."""
    bucket = FakeBucket()
    beats = Beats(cast("Bucket", bucket), "wk-1", record)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beats.run)
        for _ in range(100):
            beats.busy()
            beats.changed()
        await until(lambda: bucket.puts)
        tasks.cancel_scope.cancel()
    assert len(bucket.puts) == 1


async def test_what_was_learnt_is_told_before_anything_else() -> None:
    """It overtakes a put that is planned, whatever comes after; on the loop that services run on."""
    bucket = FakeBucket()
    beats = Beats(cast("Bucket", bucket), "wk-1", record)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beats.run)
        beats.busy()
        beats.learnt()
        beats.changed()
        beats.learnt()
        await until(lambda: bucket.puts)
        assert len(bucket.puts) == 1
        beats.busy()
        beats.changed()
        await until(lambda: len(bucket.puts) == 2)
        tasks.cancel_scope.cancel()


async def test_a_put_that_fails_is_not_the_end() -> None:
    """The next change puts the record."""
    bucket = FakeBucket()
    bucket.failing = True
    beats = Beats(cast("Bucket", bucket), "wk-1", record)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beats.run)
        beats.changed()
        await anyio.sleep(0.1)
        bucket.failing = False
        beats.changed()
        await until(lambda: bucket.puts)
        tasks.cancel_scope.cancel()


async def test_the_end_is_told_at_once() -> None:
    """Nobody has to wait for the record to lapse."""
    bucket = FakeBucket()
    await Beats(cast("Bucket", bucket), "wk-1", record).end()
    assert bucket.deleted == ["wk-1"]
