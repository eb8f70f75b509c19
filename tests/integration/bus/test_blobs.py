"""Blobs in object buckets."""

import itertools
import os
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from afield._bus import BlobCorruptError, BlobNotFoundError, Bus, NoRespondersError, PublishRefusedError
from afield._bus.blobs import BlobStore
from afield._wire.streams import BLOB_CHUNK
from support.nats import NatsServer
from support.streams import api, fresh, stored

pytestmark = pytest.mark.anyio


async def make_store(bus: Bus, **config: object) -> BlobStore:
    """A fresh object bucket."""
    name = fresh("O")
    body = {
        "name": f"OBJ_{name}",
        "subjects": [f"$O.{name}.C.>", f"$O.{name}.M.>"],
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        **config,
    }
    await api(bus, f"STREAM.CREATE.OBJ_{name}", body)
    return BlobStore(bus, name)


SIZES = [0, 1, BLOB_CHUNK - 1, BLOB_CHUNK, BLOB_CHUNK + 1, 5 * BLOB_CHUNK + 77]


@pytest.mark.parametrize("size", SIZES)
async def test_blob_comes_back(bus: Bus, size: int) -> None:
    """A blob of any size comes back as it was, cut into chunks of the agreed size."""
    store, data = await make_store(bus), os.urandom(size)
    digest = await store.put("a/b c", [data])
    assert await store.get("a/b c") == data
    assert len(digest) == 32
    assert await stored(bus, store.stream) == -(-size // BLOB_CHUNK) + 1


async def test_buffers_are_joined(bus: Bus) -> None:
    """A blob can be given in pieces of any size and kind."""
    store, data = await make_store(bus), os.urandom(3 * BLOB_CHUNK)
    cuts = [0, 0, 10, BLOB_CHUNK - 5, BLOB_CHUNK + 5, 2 * BLOB_CHUNK + 500, len(data)]
    pieces = [memoryview(data)[a:b] for a, b in itertools.pairwise(cuts)]
    await store.put("x", [bytearray(pieces[0]), *pieces[1:]])
    assert await store.get("x") == data


async def test_other_clients_read_what_we_write_and_we_what_they_write(bus: Bus) -> None:
    """The layout is the one of every NATS client's object store."""
    store, data = await make_store(bus), os.urandom(2 * BLOB_CHUNK + 3)
    theirs = await bus.nc.jetstream().object_store(store.bucket)
    await store.put("ours", [data])
    assert (await theirs.get("ours")).data == data
    await theirs.put("theirs", data[:300_000])
    assert await store.get("theirs") == data[:300_000]
    await theirs.delete("theirs")
    assert not await store.exists("theirs")


async def test_put_replaces_and_leaves_nothing_of_the_old(bus: Bus) -> None:
    """A second put under a name replaces the first; delete leaves nothing at all."""
    store = await make_store(bus)
    await store.put("x", [bytes(3 * BLOB_CHUNK)])
    await store.put("x", [b"new"])
    assert await store.get("x") == b"new"
    assert await stored(bus, store.stream) == 2
    await store.delete("x")
    await store.delete("x")
    assert await stored(bus, store.stream) == 0


async def test_put_if_absent_keeps_the_first(bus: Bus) -> None:
    """A name that is there is not written again."""
    store = await make_store(bus)
    await store.put_if_absent("x", b"one")
    await store.put_if_absent("x", b"two")
    assert await store.get("x") == b"one"
    assert await store.exists("x")


async def test_missing_blob_is_an_error(bus: Bus) -> None:
    """A blob that is not there is told apart from a bucket that is not there."""
    store = await make_store(bus)
    with pytest.raises(BlobNotFoundError, match="no blob x"):
        await store.get("x")
    with pytest.raises(NoRespondersError):
        await BlobStore(bus, "NOSUCH").get("x")


async def test_missing_chunk_is_noticed(bus: Bus) -> None:
    """A blob that lost a chunk is an error that tells both sizes."""
    store = await make_store(bus)
    await store.put("x", [bytes(3 * BLOB_CHUNK)])
    await api(bus, f"STREAM.MSG.DELETE.{store.stream}", {"seq": 2})
    with pytest.raises(BlobCorruptError, match=r"524,288 bytes.*expected 786,432"):
        await store.get("x")


async def test_changed_byte_is_noticed(bus: Bus) -> None:
    """A blob of the right size with other bytes is an error (its SHA-256 differs)."""
    store = await make_store(bus)
    await store.put("x", [b"right"])
    chunk = await api(bus, f"STREAM.MSG.GET.{store.stream}", {"seq": 1})
    await api(bus, f"STREAM.MSG.DELETE.{store.stream}", {"seq": 1})
    await bus.publisher.publish(chunk["message"]["subject"], b"wrong", msg_id=fresh("id"))
    with pytest.raises(BlobCorruptError, match="SHA-256="):
        await store.get("x")


async def test_get_to_file_is_whole_or_not_there(bus: Bus, tmp_path: Path) -> None:
    """A blob lands in a file that only its owner can read; when it is broken, no file appears and nothing is left."""
    store, data = await make_store(bus), os.urandom(3 * BLOB_CHUNK)
    await store.put("x", [data])
    target = tmp_path / "file"
    await store.get_to_file("x", target)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o600
    await api(bus, f"STREAM.MSG.DELETE.{store.stream}", {"seq": 1})
    with pytest.raises(BlobCorruptError):
        await store.get_to_file("x", tmp_path / "other")
    assert os.listdir(tmp_path) == ["file"]


async def test_full_bucket_refuses_and_is_cleaned(bus: Bus) -> None:
    """A put that the bucket has no room for raises the stream's refusal and leaves no chunks behind."""
    store = await make_store(bus, max_bytes=4 * BLOB_CHUNK)
    with pytest.raises(PublishRefusedError, match="maximum bytes"):
        await store.put("x", [bytes(20 * BLOB_CHUNK)])
    assert await stored(bus, store.stream) == 0
    assert bus.publisher.in_flight == 0


async def test_transfer_survives_a_kill_of_the_server(own_server: NatsServer, own_bus: Bus) -> None:
    """Blobs on their way when the server is killed arrive whole, in and out."""
    store, data = await make_store(own_bus), os.urandom(200 * BLOB_CHUNK)
    got: list[bytes] = []

    async def there_and_back(name: str) -> None:
        await store.put(name, [data])
        for _ in range(3):
            got.extend([await store.get(name)])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there_and_back, "a")
        tasks.start_soon(there_and_back, "b")
        await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(own_server.restart)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(own_server.restart)
    assert len(got) == 6
    assert all(each == data for each in got)


async def test_reads_take_no_consumers(bus: Bus) -> None:
    """Reading blobs makes no consumers, of which nats-py's object store makes one a read."""
    store = await make_store(bus)
    await store.put("x", [b"1"])
    for _ in range(50):
        await store.get("x")
    assert (await api(bus, f"STREAM.INFO.{store.stream}"))["state"]["consumer_count"] == 0
