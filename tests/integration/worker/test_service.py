"""The worker as a service: its record, its requests, and what it survives."""

import json
import signal
import time
from pathlib import Path

import anyio
import pytest

from afield._wire.api import StartContainer, worker_start
from afield._wire.ids import new_id
from afield_worker.service import WorkerService
from support.field import Field, field_on, until_true
from support.nats import NatsServer

pytestmark = pytest.mark.anyio

SLOW = """
    import time
    def f(x):
        print('began', flush=True)
        time.sleep(x)
        return 'done'
"""


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


async def test_the_record_shows_the_containers(field: Field, worker: WorkerService) -> None:
    """With their phase, their process, and since when they are idle."""
    record = await field.define("def f(x):\n    return x\n")
    await field.start(worker, record)
    assert await field.value(await field.send(record, 1)) == 1

    async def idle() -> bool:
        (mine,) = [w for w in await field.workers() if w.worker_id == worker.worker_id]
        found = [c for c in mine.containers if c.function_id == record.function_id]
        return bool(found) and found[0].state == "ready" and found[0].idle_since > time.time() - 60

    await until_true(idle)
    (mine,) = [w for w in await field.workers() if w.worker_id == worker.worker_id]
    assert mine.host == "here"
    assert mine.pack_seconds[record.function_id] > 0
    assert all(lives(c.pid) for c in mine.containers)


async def test_a_repeated_start_is_harmless(field: Field, worker: WorkerService) -> None:
    """The container's id makes it one."""
    record = await field.define("def f(x): ...\n")
    request = StartContainer(container_id=new_id("ta"), function=record)
    endpoint = worker_start(worker.worker_id)
    assert (await field.bus.call(endpoint, request)).accepted
    assert (await field.bus.call(endpoint, request)).accepted
    assert [c.id for c in worker.containers if c.function.record == record] == [request.container_id]


async def test_operators_see_the_worker(field: Field, worker: WorkerService) -> None:
    """As a micro service, with its id."""
    reply = await field.bus.request("$SRV.INFO.worker")
    assert json.loads(reply.data)["metadata"]["worker_id"] == worker.worker_id


async def test_events_tell_of_containers(field: Field, worker: WorkerService) -> None:
    """Starting, ready, stopped."""
    record = await field.define("def f(x): ...\n")
    await field.start(worker, record)
    await field.until(lambda: field.said(record, "container.ready"))
    await field.stop(worker, function_id=record.function_id, only_if_idle=True)
    await field.until(lambda: field.said(record, "container.stopped"))
    kinds = [e.kind for e in field.events if e.function_id == record.function_id]
    assert kinds == ["container.starting", "container.ready", "container.stopped"]


async def test_a_server_that_is_killed_costs_no_input(server: NatsServer, tmp_path: Path) -> None:
    """What ran meanwhile stores its result when the server is back, and what waits is pulled."""
    with server:
        async with field_on(server.url, tmp_path) as field, field.worker() as worker:
            record = await field.define(SLOW)
            await field.start(worker, record)
            running = await field.send(record, 1.0)
            waiting = await field.send(record, 0.0)
            await field.until(lambda: "began" in field.text())
            await anyio.to_thread.run_sync(server.restart)
            assert await field.value(running) == "done"
            assert await field.value(waiting) == "done"
            await field.drained(record)


async def test_a_process_of_its_own_stops_on_sigterm(field: Field) -> None:
    """Status 0, nothing left behind."""
    record = await field.define("import os\ndef f(x):\n    return os.getpid()\n")
    async with await field.spawn("wk-own") as process:
        await field.start("wk-own", record)
        pid = await field.value(await field.send(record, 1))
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            assert await process.wait() == 0
    assert not lives(pid)
    assert "wk-own" not in [w.worker_id for w in await field.workers()]
    assert not (field.folder / "run" / "homes" / "wk-own").exists()


@pytest.mark.slow
async def test_a_killed_worker_costs_no_input(field: Field) -> None:
    """Its input comes to another one when its acknowledgement is overdue; its containers die with it."""
    source = """
        import os, time
        def f(mark):
            first = not os.path.exists(mark)
            with open(mark, 'a') as file:
                file.write(f'{os.getpid()} ')
            time.sleep(60 * first)
            return 'done'
    """
    record = await field.define(source)
    mark = field.folder / "killed-worker"
    async with await field.spawn("wk-killed") as process:
        await field.start("wk-killed", record)
        call = await field.send(record, str(mark))

        async def began() -> bool:
            return mark.exists() and mark.read_text().endswith(" ")

        await until_true(began)
        process.kill()
    async with field.worker() as worker:
        await field.start(worker, record)
        assert await field.value(call) == "done"
    first, _ = mark.read_text().split()
    assert not lives(int(first))
