"""The configurations that docs/scaling.md shows do what it says."""

import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from afield._bus import Bus, BusAddress
from afield._bus.delivery import Delivery
from afield._bus.errors import ApiRefusedError
from afield._bus.pull import PullLoop
from afield._wire import subjects
from afield._wire.streams import consumer_config
from afield_common.jetstream import JetStream
from afield_common.store import ensure_assets
from support.nats import server_binary
from support.pages import ROOT, Configured, configurations, on_this_host, passwords
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "scaling.md"
CONFIGURATIONS = configurations(PAGE)
INPUT = "in.{}.main.fu-1.hi.fc-s-{}-1.0-1.1"
IN_PROGRESS = 10226
"""The stream is being moved, or copied, already."""

ENV = {**os.environ, **passwords()}


def test_the_page_has_all_configurations() -> None:
    """None of those that are tested below has got lost."""
    assert sorted(CONFIGURATIONS) == ["hub.conf", "mapping.conf", "n1.conf", "site-a.conf"]


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_nats_server_takes_it(name: str, tmp_path: Path) -> None:
    """With the configuration of deploy/ beside it."""
    on_this_host({name: CONFIGURATIONS[name]}, tmp_path)
    env = {**ENV, "AFIELD_HUB": "nats-leaf://operator:secret@127.0.0.1:7422"}
    command = [server_binary(), "-t", "-c", str(tmp_path / name)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


@asynccontextmanager
async def connected(address: str, role: str) -> AsyncIterator[Bus]:
    """A connection in a role."""
    async with Bus.open(BusAddress(f"nats://{address}", role, f"secret-{role}"), name=role) as bus:
        yield bus


def three(folder: Path) -> tuple[list[Path], str]:
    """The configurations of three servers, as the page tells to make them from that of the first; the first one's address."""
    text = CONFIGURATIONS["n1.conf"]
    texts = {"n1.conf": text}
    for number, tag in ((2, "b"), (3, "c")):
        other = text.replace("server_name: n1", f"server_name: n{number}").replace("disk:a", f"disk:{tag}")
        other = re.sub(r'(listen: "10\.0\.0\.)1:', rf"\g<1>{number}:", other)
        texts[f"n{number}.conf"] = other
    given = on_this_host(texts, folder)
    return [folder / name for name in texts], given["10.0.0.1:4222"]


@pytest.mark.slow
async def test_an_input_stream_moves_to_the_server_with_its_tag(tmp_path: Path) -> None:
    """Cut to one copy, with the inputs that wait in it and the consumers of its functions; what comes later is delivered, too."""
    files, address = three(tmp_path)
    with ExitStack() as stack:
        async with anyio.create_task_group() as tasks:
            for file in files:
                server = Configured(file, ENV)
                tasks.start_soon(anyio.to_thread.run_sync, stack.enter_context, server)
        async with connected(address, "operator") as bus:
            jet = JetStream(bus)
            await ensure_assets(bus, 4, replicas=3)
            await jet.create_consumer("IN_1", consumer_config("main", "fu-1", 1, "hi"))
            await place(jet, "IN_1", {"num_replicas": 1})
            await until_true(lambda: alone(jet, "IN_1"), timeout=40.0)
            await bus.publisher.publish(INPUT.format(1, 1), b"early", msg_id="early")
            here = await alone(jet, "IN_1")
            tag, name = ("disk:b", "n2") if here != "n2" else ("disk:c", "n3")
            await place(jet, "IN_1", {"placement": {"tags": [tag]}})

            async def moved() -> bool:
                return await alone(jet, "IN_1") == name

            await until_true(moved, timeout=40.0)
            assert (await jet.request("STREAM.INFO.RESULTS"))["config"]["num_replicas"] == 3
            await bus.publisher.publish(INPUT.format(1, 2), b"late", msg_id="late")
            assert [data for _, data in await taken(bus, "IN_1", "main_fu-1_hi", 2)] == [b"early", b"late"]


async def alone(jet: JetStream, stream: str) -> str:
    """The only server that keeps a stream; nothing while there are several, or none that leads it."""
    try:
        cluster = (await jet.request(f"STREAM.INFO.{stream}"))["cluster"]
    except ApiRefusedError:  # while it moves, nobody may lead it
        return ""
    return "" if cluster.get("replicas") else str(cluster.get("leader", ""))


async def place(jet: JetStream, stream: str, change: dict[str, Any]) -> None:
    """What `nats stream edit` does: write the configuration again, changed; again while an earlier change goes on."""

    async def accepted() -> bool:
        config = (await jet.request(f"STREAM.INFO.{stream}"))["config"]
        try:
            await jet.request(f"STREAM.UPDATE.{stream}", {**config, **change})
        except ApiRefusedError as error:
            if error.err_code != IN_PROGRESS:
                raise
            return False
        return True

    await until_true(accepted, timeout=40.0)


async def taken(bus: Bus, stream: str, consumer: str, count: int) -> list[tuple[str, bytes]]:
    """Take messages off a queue."""
    seen: list[Delivery] = []
    loop = PullLoop(bus, stream, consumer, seen.append)
    loop.demand(count)
    async with anyio.create_task_group() as tasks:
        await tasks.start(loop.run)
        await until(lambda: len(seen) == count, timeout=30.0)
        for each in seen:
            each.ack()
        tasks.cancel_scope.cancel()
    return [(each.subject, bytes(each.data)) for each in seen]


async def test_a_call_passes_a_leaf_node(tmp_path: Path) -> None:
    """Client and worker of a site reach the streams of the hub with their own logins, and the worker's heartbeat is kept."""
    texts = {name: CONFIGURATIONS[name] for name in ("hub.conf", "site-a.conf")}
    given = on_this_host(texts, tmp_path)
    env = {**ENV, "AFIELD_HUB": f"nats-leaf://operator:secret-operator@{given['10.0.0.1:7422']}"}
    with Configured(tmp_path / "hub.conf", env), Configured(tmp_path / "site-a.conf", env):
        async with connected(given["10.0.0.1:4222"], "registry") as hub:
            await ensure_assets(hub, 4)
            await JetStream(hub).create_consumer("IN_0", consumer_config("main", "fu-1", 0, "hi"))
        site = given["10.1.0.1:4222"]
        async with connected(site, "client") as client, connected(site, "worker") as worker:
            stored: list[bytes] = []
            await client.subscribe(
                subjects.stored_results_of_session("main", "s"), lambda msg: stored.append(msg.data)
            )
            await client.publisher.publish(INPUT.format(0, 0), b"question", msg_id="q")
            ((subject, data),) = await taken(worker, "IN_0", "main_fu-1_hi", 1)
            call_id = subjects.parse_input(subject).call_id
            result = subjects.result("main", call_id, subjects.Pack(0, 1))
            await worker.publisher.publish(result, data + b"!", msg_id="a")
            await worker.publisher.publish(subjects.kv("WORKERS", "wk-1"), b"alive", msg_id="")
            await until(lambda: stored == [b"question!"], timeout=30.0)


async def test_a_mapping_keeps_the_calls_of_a_function_apart(tmp_path: Path) -> None:
    """One call goes to one stream always, several of a function to several."""
    given = on_this_host({"mapping.conf": CONFIGURATIONS["mapping.conf"]}, tmp_path)
    with Configured(tmp_path / "mapping.conf", ENV):
        async with connected(next(iter(given.values())), "operator") as bus:
            heard: list[str] = []
            await bus.subscribe("in.*.main.>", lambda msg: heard.append(msg.subject))
            await bus.flush()
            for number in range(40):
                for pack in ("0-1", "1-1"):
                    bus.send(f"in.any.main.fu-1.hi.fc-s-0-{number}.{pack}.1", b"")
            await until(lambda: len(heard) == 80)
    shards: dict[str, set[str]] = {}
    for subject in heard:
        parsed = subjects.parse_input(subject)
        shards.setdefault(parsed.call_id, set()).add(str(parsed.shard))
    assert all(len(each) == 1 for each in shards.values())
    assert {shard for each in shards.values() for shard in each} == {"0", "1", "2", "3"}
