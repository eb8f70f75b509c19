"""Streams and buckets on the server: created where they are missing, or waited for."""

from collections.abc import Iterable

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import ApiRefusedError, BusError
from afield._wire.streams import StreamSpec, assets, scaled
from afield_common.errors import AssetsMissingError, StorageError
from afield_common.jetstream import STORAGE_EXCEEDED, STREAM_NAME_IN_USE, UNAVAILABLE, JetStream
from afield_common.log import get_logger

log = get_logger(__name__)

_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between looks at a server that is still starting; the last one repeats."""


async def ensure_assets(
    bus: Bus, shards: int, *, storage: int | None = None, timeout: float = 30.0
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
    wanted = [spec for spec in assets(shards, min(known, default=None)) if spec.name in missing]
    failures: list[StorageError] = []

    async def create(spec: StreamSpec) -> None:
        try:
            await _create(jet, spec)
        except StorageError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for spec in wanted:
            tasks.start_soon(create, spec)
    if failures:
        raise failures[0]
    names = tuple(spec.name for spec in wanted)
    log.info("created streams", streams=names)
    return names


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


async def _create(jet: JetStream, spec: StreamSpec) -> None:
    """Create one stream, smaller than asked for where the server has not got the room."""
    while True:
        try:
            await jet.create_stream(spec)
        except ApiRefusedError as error:
            if error.err_code in STORAGE_EXCEEDED:
                spec = _smaller(spec, error)
                continue
            if error.err_code != STREAM_NAME_IN_USE:
                raise
            log.warning("stream exists with another configuration", stream=spec.name)
        return


def _smaller(spec: StreamSpec, error: ApiRefusedError) -> StreamSpec:
    less = scaled(spec, 0.5)
    asked = int(spec.config.get("max_bytes", 0))
    if int(less.config.get("max_bytes", 0)) >= asked:
        raise StorageError(spec.name, asked, error.description) from error
    log.warning("the server has too little room; asking for half", stream=spec.name, max_bytes=asked)
    return less


def _pauses() -> Iterable[float]:
    yield from _RETRY_S
    while True:
        yield _RETRY_S[-1]
