"""afield_common.store and jetstream: assets are made once, and found."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from afield._bus.connection import Bus
from afield._bus.errors import ApiRefusedError
from afield._wire import subjects
from afield._wire.streams import StreamSpec, assets, consumer_config
from afield_common.errors import AssetsMissingError, StorageError
from afield_common.jetstream import NO_PEERS, JetStream
from afield_common.store import ensure_assets, limit_queue, wait_for_assets
from support.nats import NatsServer
from support.services import connected
from support.waiting import until_true

pytestmark = pytest.mark.anyio


async def test_assets_are_created_once(bus: Bus) -> None:
    """The first call creates everything that is declared, the second nothing."""
    assert set(await ensure_assets(bus, 2)) == {spec.name for spec in assets(2)}
    assert await ensure_assets(bus, 2) == ()
    assert await JetStream(bus).stream_names() == {spec.name for spec in assets(2)}


async def test_only_what_is_missing_is_created(bus: Bus) -> None:
    """More shards add streams, and leave the others alone."""
    await ensure_assets(bus, 1)
    assert await ensure_assets(bus, 3) == ("IN_1", "IN_2")


async def test_two_creators_do_not_disturb_each_other(bus: Bus) -> None:
    """Several processes may start at the same time."""
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ensure_assets, bus, 1)
    await wait_for_assets(bus, 1)


async def test_an_operators_stream_is_left_as_it_is(bus: Bus) -> None:
    """A stream that somebody tuned is not changed back."""
    jet = JetStream(bus)
    await jet.create_stream(StreamSpec(name="LOGS", subjects=("log.>",), config={"max_age": 10**9 * 60}))
    assert "LOGS" not in await ensure_assets(bus, 1)
    assert (await jet.request("STREAM.INFO.LOGS"))["config"]["max_age"] == 10**9 * 60


@pytest.fixture
async def small(tmp_path: Path, anyio_backend: str) -> AsyncIterator[tuple[NatsServer, Bus]]:
    """A server that has 4 GiB for everything."""
    server = NatsServer(tmp_path / "small", max_file_store="4GB")
    with server:
        async with connected(server.url) as opened:
            yield server, opened


async def reserved(bus: Bus) -> int:
    """Bytes that all streams reserve."""
    jet = JetStream(bus)
    infos = [await jet.request(f"STREAM.INFO.{name}") for name in await jet.stream_names()]
    return sum(max(0, info["config"]["max_bytes"]) for info in infos)


async def test_small_disk_holds_everything(small: tuple[NatsServer, Bus]) -> None:
    """Told of a small disk, streams reserve three quarters of it: results need the rest."""
    _, bus = small
    assert set(await ensure_assets(bus, 1, storage=2**32)) == {spec.name for spec in assets(1)}
    assert await reserved(bus) <= 3 * 2**30


async def test_server_that_turns_out_to_be_small_holds_everything(small: tuple[NatsServer, Bus]) -> None:
    """Nobody knows how much it has: streams ask for less until they fit, and leave room for results."""
    _, bus = small
    assert set(await ensure_assets(bus, 1)) == {spec.name for spec in assets(1)}
    assert await reserved(bus) <= 3 * 2**30


async def test_server_without_room_is_an_error(tmp_path: Path) -> None:
    """The error names the stream, and what to do."""
    with NatsServer(tmp_path / "tiny", max_file_store="1MB") as server:
        async with connected(server.url) as bus:
            with pytest.raises(StorageError, match="free some disk"):
                await ensure_assets(bus, 1)


async def test_limit_of_the_account_is_respected(tmp_path: Path) -> None:
    """An account may have less than its server."""
    account = """accounts { A { jetstream { max_file: 4GB }, users: [{user: a, password: a}] } }
        no_auth_user: a"""
    with NatsServer(tmp_path / "account", extra=account) as server:
        async with connected(server.url) as bus:
            assert await JetStream(bus).storage() == 2**32
            await ensure_assets(bus, 1)
            assert await reserved(bus) <= 3 * 2**30


async def test_servers_of_a_cluster_that_are_not_up_yet_are_waited_for(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment after its start a cluster has a leader that has not heard of all others."""
    tries = 0
    create = JetStream.create_stream

    async def early(jet: JetStream, spec: StreamSpec) -> None:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise ApiRefusedError("STREAM.CREATE", NO_PEERS, "no suitable peers for placement, peer offline")
        await create(jet, spec)

    monkeypatch.setattr(JetStream, "create_stream", early)
    assert await ensure_assets(bus, 1) == tuple(spec.name for spec in assets(1))
    assert tries == len(assets(1)) + 3


async def test_a_cluster_without_room_is_an_error(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in other words than a server by itself."""

    async def full(_: JetStream, spec: StreamSpec) -> None:
        raise ApiRefusedError(spec.name, NO_PEERS, "no suitable peers for placement, insufficient storage")

    monkeypatch.setattr(JetStream, "create_stream", full)
    with pytest.raises(StorageError):
        await ensure_assets(bus, 1)


@pytest.mark.parametrize(("wanted", "limit"), [(100, 100), (0, -1)])
async def test_queue_is_limited_as_configured(bus: Bus, wanted: int, limit: int) -> None:
    """Also one that exists; what else an operator tuned stays, and what is there already stays."""
    await ensure_assets(bus, 2)
    jet = JetStream(bus)
    config = (await jet.request("STREAM.INFO.IN_1"))["config"]
    await jet.request("STREAM.UPDATE.IN_1", {**config, "max_msgs": 7, "max_age": 3600 * 10**9})
    for _ in range(2):
        await limit_queue(bus, 2, wanted)

    for name in ("IN_0", "IN_1"):
        assert (await jet.request(f"STREAM.INFO.{name}"))["config"]["max_msgs"] == limit
    assert (await jet.request("STREAM.INFO.IN_1"))["config"]["max_age"] == 3600 * 10**9


async def test_waiting_ends_when_the_assets_come(bus: Bus) -> None:
    """A service that starts before the registry waits for it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_assets, bus, 1)
        await anyio.wait_all_tasks_blocked()
        await ensure_assets(bus, 1)


async def test_waiting_in_vain_names_what_is_missing(bus: Bus) -> None:
    """The error says which streams are not there, and who makes them."""
    with pytest.raises(AssetsMissingError, match=r"IN_0.*registry"):
        await wait_for_assets(bus, 1, timeout=0.2)


async def test_purge_up_to_a_sequence_spares_what_came_later(bus: Bus) -> None:
    """Messages behind the given sequence stay."""
    await ensure_assets(bus, 1)
    jet = JetStream(bus)
    for pack in range(3):
        await bus.publisher.publish(f"in.0.main.fu-1.lo.fc-s-0-1.{pack}-1.1", b"x", msg_id=str(pack))
    everything = subjects.inputs_of_call("main", "fc-s-0-1")
    seen = await jet.subjects("IN_0", everything)
    assert (len(seen.subjects), seen.last_seq) == (3, 3)
    assert await jet.purge("IN_0", everything, up_to=2) == 2
    assert list((await jet.subjects("IN_0", everything)).subjects) == ["in.0.main.fu-1.lo.fc-s-0-1.2-1.1"]


async def test_subject_list_is_paged(bus: Bus) -> None:
    """A filter that matches nothing lists nothing, and does not fail."""
    await ensure_assets(bus, 1)
    assert (await JetStream(bus).subjects("IN_0", "in.0.nobody.>")).subjects == {}


async def test_consumer_is_created_listed_and_deleted(bus: Bus) -> None:
    """A durable consumer can be made twice, seen, and deleted twice."""
    await ensure_assets(bus, 1)
    jet, config = JetStream(bus), consumer_config("main", "fu-1", 0, "hi")
    for _ in range(2):
        await jet.create_consumer("IN_0", config)
    await bus.publisher.publish("in.0.main.fu-1.hi.fc-s-0-1.0-1.1", b"x", msg_id="1")

    async def counted() -> bool:  # what is stored is told to consumers a moment later
        state = await jet.consumer("IN_0", "main_fu-1_hi")
        return state is not None and (state.pending, state.ack_pending) == (1, 0)

    await until_true(counted)
    assert [each.name async for each in jet.consumers("IN_0")] == ["main_fu-1_hi"]
    assert [await jet.delete_consumer("IN_0", "main_fu-1_hi") for _ in range(2)] == [True, False]
    assert await jet.consumer("IN_0", "main_fu-1_hi") is None


async def test_refusals_carry_the_servers_code(bus: Bus) -> None:
    """What the server refuses is an error with its number."""
    with pytest.raises(ApiRefusedError) as caught:
        await JetStream(bus).request("STREAM.INFO.NOBODY")
    assert caught.value.err_code == 10059
