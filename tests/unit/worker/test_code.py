"""The code of functions on this host."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from afield._bundle import pack_files
from afield._bus.errors import BlobNotFoundError
from afield_worker import code
from afield_worker.code import KEEP_S, CodeCache, CodeMissingError

pytestmark = pytest.mark.anyio


class Store:
    """What is in the bucket, and how often it was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked = 0

    async def fetch(self, name: str, path: Path) -> None:
        """Store an object as a file."""
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        if name not in self.objects:
            raise BlobNotFoundError(name)
        await anyio.Path(path).write_bytes(self.objects[name])

    def add_bundle(self, folder: Path) -> str:
        """Put a bundle with one file in, and return its digest."""
        file = folder / "source.py"
        file.write_text("x = 1")
        digest, data = pack_files({"package/main.py": file})
        self.objects[digest] = data
        return digest


@pytest.fixture
def store() -> Store:
    """An empty bucket."""
    return Store()


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> CodeCache:
    """An empty cache."""
    return CodeCache(tmp_path / "code", store.fetch)


async def test_a_bundle_is_unpacked(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """Its files lie in a folder named by the digest, and nothing else is left."""
    digest = store.add_bundle(tmp_path)
    folder = await cache.bundle(digest)
    assert (folder / "package" / "main.py").read_text() == "x = 1"
    assert list((tmp_path / "code").iterdir()) == [folder]


async def test_many_containers_fetch_it_once(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """Those that come while it is fetched wait for it."""
    digest = store.add_bundle(tmp_path)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(cache.bundle, digest)
    assert store.asked == 1


async def test_two_workers_may_share_the_folder(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """The slower one finds the work done."""
    digest = store.add_bundle(tmp_path)
    other = CodeCache(tmp_path / "code", store.fetch)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cache.bundle, digest)
        tasks.start_soon(other.bundle, digest)
    assert len(list((tmp_path / "code").iterdir())) == 1


async def test_a_pickled_function_is_a_file(store: Store, cache: CodeCache) -> None:
    """As it was stored."""
    digest = hashlib.sha256(b"pickle").hexdigest()
    store.objects[digest] = b"pickle"
    assert (await cache.serialized(digest)).read_bytes() == b"pickle"


async def test_code_that_is_not_there_is_told(cache: CodeCache) -> None:
    """The error says what to do."""
    with pytest.raises(CodeMissingError, match="publish the app again"):
        await cache.bundle("0" * 64)


async def test_code_with_another_digest_is_not_run(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """Nothing of it stays."""
    store.objects["0" * 64] = b"something else"
    with pytest.raises(CodeMissingError, match="the bucket CODE holds"):
        await cache.bundle("0" * 64)
    assert not list((tmp_path / "code").iterdir())


async def test_a_failed_fetch_can_be_repeated(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """It leaves nothing behind that would be taken for the code."""
    digest = store.add_bundle(tmp_path)
    data = store.objects.pop(digest)
    with pytest.raises(CodeMissingError):
        await cache.bundle(digest)
    store.objects[digest] = data
    assert (await cache.bundle(digest)).is_dir()


async def test_what_nobody_uses_is_swept(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """Use keeps it."""
    digest = store.add_bundle(tmp_path)
    folder = await cache.bundle(digest)
    old = folder.stat().st_mtime - KEEP_S - 1
    os.utime(folder, (old, old))
    await cache.bundle(digest)
    assert cache.sweep() == 0
    os.utime(folder, (old, old))
    assert cache.sweep() == 1
    assert not list((tmp_path / "code").iterdir())


async def test_what_a_container_has_is_not_swept(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """One may run for longer than code is kept that nobody fetches any more."""
    digest = store.add_bundle(tmp_path)
    pickled = hashlib.sha256(b"pickle").hexdigest()
    store.objects[pickled] = b"pickle"
    for path in (await cache.bundle(digest), await cache.serialized(pickled)):
        os.utime(path, (0, 0))
    assert cache.sweep({digest, pickled}) == 0
    assert cache.sweep() == 0  # it counts as used now


def test_what_is_fetched_while_it_is_swept_may_get_its_name(cache: CodeCache, tmp_path: Path) -> None:
    """A file that is gone between the listing and the look is no error."""
    over = threading.Event()

    def fetch() -> None:
        path = tmp_path / "code" / "code"
        while not over.is_set():
            path.with_suffix(".part").touch()
            path.with_suffix(".part").rename(path)
            path.unlink()

    with ThreadPoolExecutor() as pool:
        fetching = pool.submit(fetch)
        try:
            assert sum(cache.sweep() for _ in range(1000)) == 0
        finally:
            over.set()
        fetching.result()


def test_what_is_being_removed_is_left_to_who_removes_it(
    store: Store, cache: CodeCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker that sweeps meanwhile does not take it for something old."""
    other, found = CodeCache(tmp_path / "code", store.fetch), []
    (tmp_path / "code" / "old").touch()
    os.utime(tmp_path / "code" / "old", (0, 0))
    monkeypatch.setattr(code, "_remove", lambda _path: found.append(other.sweep()))

    assert cache.sweep() == 1
    assert found == [0]


def test_two_workers_may_sweep_the_folder_at_once(store: Store, cache: CodeCache, tmp_path: Path) -> None:
    """Each thing is removed by one of them."""
    for number in range(100):
        folder = tmp_path / "code" / f"{number}"
        folder.mkdir()
        for name in "abcdef":
            (folder / name).touch()
        os.utime(folder, (0, 0))
    other = CodeCache(tmp_path / "code", store.fetch)
    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(CodeCache.sweep, (cache, other))) == 100
    assert not list((tmp_path / "code").iterdir())
