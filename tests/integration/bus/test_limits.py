"""Limits of the server that the platform lifts."""

from pathlib import Path

import anyio
import pytest

from afield._bus import Bus, BusAddress
from afield._wire.streams import CRON, assets, consumer_config, input_stream
from support.nats import NatsServer
from support.streams import api, make_asset, make_stream

pytestmark = pytest.mark.anyio


async def test_more_than_a_thousand_consumers(own_server: NatsServer, own_bus: Bus) -> None:
    """An input stream takes more consumers than the server's default of 1000 a stream."""
    spec = input_stream(0)
    await make_asset(own_bus, spec)

    async def make(i: int) -> None:
        config = consumer_config("main", f"fu-{i}", 0, "hi")
        name, subject = config["durable_name"], config["filter_subject"]
        await api(
            own_bus, f"CONSUMER.CREATE.IN_0.{name}.{subject}", {"stream_name": "IN_0", "config": config}
        )

    for start in range(0, 1010, 101):
        async with anyio.create_task_group() as tasks:
            for i in range(start, start + 101):
                tasks.start_soon(make, i)
    assert (await api(own_bus, "STREAM.INFO.IN_0"))["state"]["consumer_count"] == 1010


async def test_all_assets_can_be_made(tmp_path: Path) -> None:
    """The server accepts every stream and bucket of the platform together, and the same ones again."""
    # Else it takes three quarters of what the disk has free at the moment, and other tests use it, too.
    with NatsServer(tmp_path, max_file_store="64GB") as server:
        async with Bus.open(BusAddress(server.url), name="test") as bus:
            for _ in range(2):
                for spec in assets(2):
                    await make_asset(bus, spec)
            names = (await api(bus, "STREAM.NAMES"))["streams"]
    assert set(names) == {spec.name for spec in assets(2)}


async def test_schedules_need_a_stream_of_their_own(bus: Bus) -> None:
    """The server refuses schedules in a stream that discards new messages, hence CRON."""
    assert "discard" not in CRON.config
    with pytest.raises(AssertionError, match="10052"):
        await make_stream(bus, allow_msg_schedules=True, discard="new", max_msgs=10)
