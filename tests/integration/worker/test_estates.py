"""What a killed worker leaves to the next one on its host."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from afield._bus.delivery import Delivery
from afield._bus.kv import Bucket
from afield._bus.pull import PullLoop
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, WorkerRecord
from afield._wire.streams import consumer_config
from afield_worker import estate
from afield_worker.estate import Estate
from support.field import Field
from support.fleet import worker as worker_record
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

HOUR_NS = 3600 * 10**9


async def patient_function(field: Field, source: str) -> FunctionRecord:
    """A function whose deliveries are not given to another for an hour."""
    record = await field.define(source)
    patient = replace(record, function_id=f"{record.function_id}p")
    config: dict[str, Any] = consumer_config("main", patient.function_id, 0, "hi")
    await field.jet.create_consumer("IN_0", {**config, "ack_wait": HOUR_NS})
    config = consumer_config("main", patient.function_id, 0, "lo")
    await field.jet.create_consumer("IN_0", config)
    return patient


async def take(field: Field, record: FunctionRecord) -> Delivery:
    """Take the next delivery of a function, as a worker does that is killed then."""
    taken: list[Delivery] = []
    loop = PullLoop(field.bus, "IN_0", f"main_{record.function_id}_hi", taken.append)
    loop.demand(1)
    field.bus.tasks.start_soon(loop.run)
    await until(lambda: taken)
    await loop.drain()
    return taken[0]


def leave(field: Field, worker_id: str, *deliveries: Delivery) -> None:
    """Make the folder of a worker that is dead."""
    folder = field.folder / "run" / "homes" / worker_id
    folder.mkdir(parents=True)
    (folder / ".owner").write_text("1 1.0")  # process 1 is another one
    left = Estate(folder / estate.FILE)
    for delivery in deliveries:
        left.hold(delivery)
    left.close()


async def test_what_it_held_runs_at_once(field: Field) -> None:
    """The next worker sends it back; it does not wait for its ack wait."""
    record = await patient_function(field, "def f(x):\n    return x + 1\n")
    call = await field.send(record, 41)
    leave(field, "wk-dead", await take(field, record))
    async with field.worker() as worker:
        await field.start(worker, record)
        assert await field.value(call) == 42


async def test_its_record_goes_at_once(field: Field) -> None:
    """The scheduler need not wait until the record lapses."""
    bucket = Bucket(field.bus, "WORKERS")
    dead: WorkerRecord = worker_record("wk-late")
    await bucket.put("wk-late", encode(dead))
    leave(field, "wk-late")

    async def gone() -> bool:
        return "wk-late" not in {record.worker_id for record in await field.workers()}

    async with field.worker():
        await until_true(gone)


KILLER = """
    import os, signal, time
    from pathlib import Path

    def f(folder):
        runs = Path(folder, "runs")
        with runs.open("a") as file:
            file.write("x")
        worker = int(Path(folder, "worker").read_text())
        if worker:
            os.kill(worker, signal.SIGKILL)
            time.sleep(60)
        return runs.stat().st_size
"""


async def die(field: Field, record: FunctionRecord, worker_id: str, folder: Path) -> None:
    """Have a worker run what waits until its input kills it."""
    process = await field.spawn(worker_id)
    (folder / "worker").write_text(str(process.pid))
    await field.start(worker_id, record)
    with anyio.fail_after(20):
        assert await process.wait() == -signal.SIGKILL
    (folder / "worker").write_text("0")


def new_folder(path: Path) -> Path:
    """The folder of an input, for its notes."""
    path.mkdir()
    (path / "worker").write_text("0")
    return path


async def test_an_input_that_kills_its_workers_ends(field: Field, tmp_path: Path) -> None:
    """Each worker learns from what the one before it left, so that the eighth loss is the last."""
    record = await field.define(KILLER)
    folder = new_folder(tmp_path / "killer")
    call = await field.send(record, str(folder), losses=5)
    for number in range(3):
        await die(field, record, f"wk-killed{number}", folder)
    async with field.worker() as worker:
        await field.start(worker, record)
        outcome = await field.outcome(call)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.message) == (
        "lost",
        "the workers that ran this input of f died with it; it was lost 8 times",
    )
    assert (folder / "runs").read_text() == "xxx"
    await field.drained(record)


async def test_an_input_that_shares_a_pack_with_such_a_one_runs_alone(field: Field, tmp_path: Path) -> None:
    """After the second death, which is no accident any more."""
    record = await field.define(KILLER)
    killer, other = (new_folder(tmp_path / name) for name in ("killer", "other"))
    call = await field.send(record, str(killer), str(other))
    for number in range(2):
        await die(field, record, f"wk-shared{number}", killer)
    async with field.worker() as worker:
        await field.start(worker, record)
        assert [result.status for result in (await field.result(call, "0-2")).results] == ["moved", "moved"]
        assert await field.value(call, "0-1") == 3
        assert await field.value(call, "1-1") == 1
    await field.drained(record)
