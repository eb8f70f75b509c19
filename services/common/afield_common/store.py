"""Streams and buckets on the server: created where they are missing, or waited for."""

from collections.abc import Iterable

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import ApiRefusedError, BusError
from afield._wire.streams import LEAST_STORAGE, STORAGE_WANTED, StreamSpec, assets
from afield._wire.subjects import input_stream
from afield_common.errors import AssetsMissingError, StorageError
from afield_common.jetstream import (
    NO_PEERS,
    STORAGE_EXCEEDED,
    STREAM_NAME_IN_USE,
    UNAVAILABLE,
    JetStream,
)
from afield_common.log import get_logger

log = get_logger(__name__)

_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between looks at a server that is still starting; the last one repeats."""


async def ensure_assets(
    bus: Bus, shards: int, *, storage: int | None = None, replicas: int = 1, timeout: float = 30.0
) -> tuple[str, ...]:
    """Create what `streams.assets(shards)` declares and the server lacks; return the names of what was created.

    Safe to call again and from several processes at once. A stream that exists is left as it is, since an
    operator may have tuned it (replicas, limits). Waits up to `timeout` seconds for JetStream to come up.

    `storage`: bytes that the server can store, as far as the caller knows. What streams reserve is cut to that, to the
    limit of the account, and to what the server turns out to have. Raises AssetsMissingError when the server does not
    answer, StorageError when it has too little room for the least, ApiRefusedError when it refuses for another reason.
    """
    jet = JetStream(bus)
    missing = {spec.name for spec in await _missing(jet, assets(shards), timeout)}
    if not missing:
        return ()
    known = [size for size in (storage, await jet.storage()) if size is not None]
    maker = _Maker(jet, shards, missing, replicas, timeout)
    await maker.make(min(known, default=STORAGE_WANTED))
    names = tuple(spec.name for spec in assets(shards) if spec.name in missing)
    log.info("created streams", streams=names)
    return names


class _Maker:
    """Creates what is missing, smaller and smaller until the server has room for it."""

    def __init__(self, jet: JetStream, shards: int, missing: set[str], replicas: int, timeout: float) -> None:
        self._jet = jet
        self._shards = shards
        self._missing = missing
        self._replicas = replicas
        self._deadline = anyio.current_time() + timeout
        self._made: dict[str, StreamSpec] = {}

    async def make(self, storage: int) -> None:
        """Create everything for a server that can store so many bytes."""
        refusal = await self._try(storage)
        if refusal is None:
            return
        while refusal is not None:
            storage //= 2
            log.warning("the server has too little room; reserving less", storage_mib=storage // 2**20)
            refusal = await self._try(storage)
        # It just fits, so there may be nothing left for inputs and results.
        await self._try(storage // 2)

    async def _try(self, storage: int) -> StorageError | None:
        """Create what is not there yet, and cut what is; return the first refusal for lack of room."""
        todo = [
            spec
            for spec in assets(self._shards, storage, self._replicas)
            if spec.name in self._missing and self._made.get(spec.name) != spec
        ]
        refusal: StorageError | None = None

        async def put(spec: StreamSpec) -> None:
            nonlocal refusal
            refusal = await self._put(spec) or refusal

        async with anyio.create_task_group() as tasks:
            for spec in todo:
                if not _reserves(spec):
                    tasks.start_soon(put, spec)
        # One after the other: of several at once the server may take more than it has room for, and is stuck then.
        for spec in todo:
            if _reserves(spec) and refusal is None:
                await put(spec)
        if refusal is not None and storage < LEAST_STORAGE:
            raise refusal
        return refusal

    async def _put(self, spec: StreamSpec) -> StorageError | None:
        try:
            if spec.name in self._made:
                await self._jet.update_stream(spec)
            else:
                await self._create(spec)
        except ApiRefusedError as error:
            no_room = error.err_code == NO_PEERS and "storage" in error.description
            if error.err_code in STORAGE_EXCEEDED or no_room:
                return StorageError(spec.name, int(spec.config.get("max_bytes", 0)), error.description)
            if error.err_code != STREAM_NAME_IN_USE:
                raise
            log.warning("stream exists with another configuration", stream=spec.name)
        self._made[spec.name] = spec
        return None

    async def _create(self, spec: StreamSpec) -> None:
        """Create a stream; wait until the deadline for servers of a cluster that have not come up yet."""
        for pause in _pauses():
            try:
                await self._jet.create_stream(spec)
                return
            except ApiRefusedError as error:
                offline = error.err_code == NO_PEERS and "offline" in error.description
                if not offline or anyio.current_time() + pause > self._deadline:
                    raise
            await anyio.sleep(pause)  # no event tells that they are all there


def _reserves(spec: StreamSpec) -> bool:
    return int(spec.config.get("max_bytes", -1)) > 0


async def limit_queue(bus: Bus, shards: int, max_queued: int) -> None:
    """Let each input stream take `max_queued` messages at most (0: as many as there is storage for)."""
    jet = JetStream(bus)
    for shard in range(shards):
        name = input_stream(shard)
        config = (await jet.request(f"STREAM.INFO.{name}"))["config"]
        wanted = max_queued or -1
        if config["max_msgs"] != wanted:
            await jet.request(f"STREAM.UPDATE.{name}", {**config, "max_msgs": wanted})
            log.info("limited a queue", stream=name, messages=max_queued or "no limit")


async def wait_for_assets(bus: Bus, shards: int, *, timeout: float = 30.0) -> None:
    """Return once everything that `streams.assets(shards)` declares is there.

    Raises AssetsMissingError, naming what is missing, after `timeout` seconds.
    """
    jet = JetStream(bus)
    missing: tuple[str, ...] = ("all",)
    with anyio.move_on_after(timeout):
        for pause in _pauses():
            missing = tuple(spec.name for spec in await _missing(jet, assets(shards), timeout))
            if not missing:
                return
            await anyio.sleep(pause)  # a peer is starting; JetStream offers no way to wait for a stream
    raise AssetsMissingError(missing, timeout)


async def _missing(jet: JetStream, specs: tuple[StreamSpec, ...], timeout: float) -> list[StreamSpec]:
    with anyio.move_on_after(timeout):
        for pause in _pauses():
            try:
                names = await jet.stream_names()
            except BusError as error:
                if isinstance(error, ApiRefusedError) and error.err_code != UNAVAILABLE:
                    raise
                await anyio.sleep(pause)  # the server accepts connections before JetStream answers
            else:
                return [spec for spec in specs if spec.name not in names]
    raise AssetsMissingError(tuple(spec.name for spec in specs), timeout)


def _pauses() -> Iterable[float]:
    yield from _RETRY_S
    while True:
        yield _RETRY_S[-1]
