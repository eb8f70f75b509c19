"""Clients that are killed in the middle."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from afield._bus.connection import Bus
from afield._bus.kv import Bucket
from afield._wire.api import APP_GET, APP_STOP, AppRef
from afield._wire.codec import decode
from afield._wire.functions import WorkerRecord
from chaos.platform import Platform, platform
from chaos.recipes import make_recipes
from chaos.rounds import PROGRAM
from chaos.watch import Watch, left_over
from support.waiting import until_true

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]

SPAWNER = Path(__file__).parent / "programs" / "spawner.py"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform that gives up on clients that were silent for three seconds."""
    async with platform(tmp_path / "home", env={"AFIELD_HEARTBEAT_S": "1"}) as made:
        yield made


async def containers(bus: Bus) -> int:
    """How many there are."""
    records = [decode(WorkerRecord, entry.data) for entry in await Bucket(bus, "WORKERS").snapshot()]
    return sum(len(record.containers) for record in records)


def start(running: Platform, *command: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a client."""
    return subprocess.Popen([sys.executable, *map(str, command)], env=running.env, text=True, **options)


async def test_an_ephemeral_app_ends_with_its_client(running: Platform, tmp_path: Path) -> None:
    """When its heartbeats have lapsed, its inputs, consumers and containers are gone."""
    inputs = tmp_path / "inputs"
    inputs.write_text("".join(json.dumps(recipe) + "\n" for recipe in make_recipes(1, 5000, 500.0)))
    async with running.connected() as bus:
        watch = Watch(bus)
        client = start(running, PROGRAM, "map", inputs, tmp_path / "results", tmp_path / "effects")
        with anyio.fail_after(60):
            await watch.first.wait()
        client.kill()
        client.wait()
        assert await left_over(bus, within=60) == []

        async def no_containers() -> bool:
            return not await containers(bus)

        await until_true(no_containers, timeout=30)


async def test_spawned_calls_of_a_detached_app_outlive_their_client(running: Platform) -> None:
    """They run to their end, and anybody who knows their ids has the results."""
    client = start(running, SPAWNER, 40, 0.2, stdout=subprocess.PIPE)
    assert client.stdout is not None
    said = json.loads(await anyio.to_thread.run_sync(client.stdout.readline))
    client.kill()
    client.wait()
    client.stdout.close()
    collector = start(running, SPAWNER, "--collect", *said["calls"], stdout=subprocess.PIPE)
    out, _ = await anyio.to_thread.run_sync(collector.communicate)
    assert json.loads(out) == [10 * x for x in range(40)]
    async with running.connected() as bus:
        app = await bus.call(APP_GET, AppRef(ws="main", app_id=said["app"]))
        assert app.state == "detached"
        await bus.call(APP_STOP, AppRef(ws="main", app_id=said["app"]))
        assert await left_over(bus, within=30) == []
