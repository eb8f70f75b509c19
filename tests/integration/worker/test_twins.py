"""Two runs of the same pack: the result that is stored first decides, whatever the other one came to."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from afield._bus.delivery import Delivery
from afield._bus.pull import PullLoop
from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, RetryPolicy
from afield._wire.messages import Attempt, InputResult, Move, ResultPack, Status
from afield._wire.streams import consumer_config
from afield._wire.subjects import Pack
from afield.serialization import dumps, loads
from afield_worker.service import WorkerService
from support.field import Field
from support.waiting import until

pytestmark = pytest.mark.anyio

COUNTS = """
    import os
    def f(folder, x):
        fd = os.open(os.path.join(folder, str(x)), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        runs = os.write(fd, b'.') and os.fstat(fd).st_size
        os.close(fd)
        if x == 1 and runs == 1:
            raise ValueError(x)
        return x
"""


async def store(field: Field, call_id: str, *statuses: Status, moves: tuple[Move, ...] = ()) -> None:
    """Store a result of the pack `0-3`, as another worker."""
    results = tuple(
        InputResult(index=i, status=status, value=dumps(-i).join() if status == "ok" else None)
        for i, status in enumerate(statuses)
    )
    body = ResultPack(
        call_id=call_id, first=0, results=results, container_id="ta-else", worker_id="wk-else", moves=moves
    )
    subject = subjects.result("main", call_id, Pack(0, len(results)))
    await field.bus.publisher.publish(subject, encode(body), msg_id=f"{call_id}.0-3.else")


async def publish(
    field: Field, folder: Path, *numbers: int, call_id: str = "", **fields: Any
) -> tuple[FunctionRecord, str]:
    """Publish a pack of a function that counts its runs, and of which number 1 fails once."""
    record = await field.define(COUNTS, retries=RetryPolicy(max_retries=2, initial_delay=0.0))
    payloads = tuple(serialized(str(folder), x) for x in numbers)
    call_id = call_id or field.new_call()
    await field.send(record, kind="map", lane="lo", call_id=call_id, payloads=payloads, **fields)
    return record, call_id


async def lose(field: Field, record: FunctionRecord) -> None:
    """Take the pack as another worker, and be lost."""
    came = anyio.Event()

    def give_back(delivery: Delivery) -> None:
        delivery.nak()
        came.set()

    consumer = subjects.input_consumer("main", record.function_id, "lo")
    pull = PullLoop(field.bus, "IN_0", consumer, give_back)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pull.run)
        pull.demand(1)
        await came.wait()
        tasks.cancel_scope.cancel()


async def run_pack(
    field: Field, worker: WorkerService, folder: Path, *statuses: Status, moves: tuple[Move, ...] = ()
) -> str:
    """Run a pack of three, of which one is to be tried again, when another run of it has stored this result."""
    call_id = field.new_call()
    await store(field, call_id, *statuses, moves=moves)
    record, _ = await publish(field, folder, 0, 1, 2, call_id=call_id)
    await field.start(worker, record)
    await field.drained(record)
    return call_id


def runs(folder: Path) -> dict[str, int]:
    """How often each number ran."""
    return {each.name: each.stat().st_size for each in folder.iterdir()}


async def store_one(field: Field, call_id: str, index: int) -> None:
    """Store the result of an input that went on by itself, as another worker."""
    body = ResultPack(
        call_id=call_id,
        first=index,
        results=(InputResult(index=index, status="ok", value=dumps(index).join()),),
        container_id="ta-else",
        worker_id="wk-else",
    )
    subject = subjects.result("main", call_id, Pack(index, 1))
    await field.bus.publisher.publish(subject, encode(body), msg_id=f"{call_id}.{index}-1.else")


def loads_value(outcome: InputResult) -> Any:
    """The value of an input that ended well."""
    assert isinstance(outcome.value, bytes), outcome
    return loads(outcome.value)


def serialized(*args: object) -> bytes:
    """Arguments of a call."""
    from afield.serialization import dumps_call

    return dumps_call(args, {}).join()


async def test_an_input_that_has_a_result_is_not_tried_again(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Our own run of it failed, the one that counts did not: there is no further attempt, and no second result."""
    call_id = await run_pack(field, worker, tmp_path, "ok", "ok", "ok")
    assert runs(tmp_path)["1"] == 1
    assert [token for call, token in field.results if call == call_id] == ["0-3"]


async def test_inputs_that_another_run_moved_go_on(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Whoever stored the result died before it sent them on; what it says of them counts, and not what we came to."""
    moves = (Move(index=2, attempt=2, ended=Attempt(number=1, kind="exception", message="no", at=0.0)),)
    call_id = await run_pack(field, worker, tmp_path, "ok", "ok", "moved", moves=moves)
    assert loads_value(await field.outcome(call_id, "2-1")) == 2
    assert (call_id, "1-1") not in field.results
    assert runs(tmp_path) == {"0": 1, "1": 1, "2": 2}


async def test_a_pack_whose_result_is_stored_does_not_run_again(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Its worker was lost before it could acknowledge it; what was to go on still goes on, once."""
    record, call_id = await publish(field, tmp_path, 0, 1, 2)
    await lose(field, record)
    await store(field, call_id, "ok", "moved", "ok", moves=(Move(index=1, attempt=2),))
    await field.start(worker, record)
    assert loads_value(await field.outcome(call_id, "1-1")) == 1
    await field.drained(record)
    assert runs(tmp_path) == {"1": 2}


async def test_what_an_earlier_run_sent_on_is_not_sent_on_again(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """It waits as a later attempt, or has its result."""
    record, call_id = await publish(field, tmp_path, 0, 2, 3)
    await lose(field, record)
    await store(
        field, call_id, "moved", "moved", "moved", moves=tuple(Move(index=i, attempt=2) for i in range(3))
    )
    await store_one(field, call_id, 0)
    await field.send(
        record,
        kind="map",
        lane="lo",
        call_id=call_id,
        payloads=(serialized(str(tmp_path), 2),),
        first=1,
        attempt=3,
    )
    await field.start(worker, record)
    await field.drained(record)
    assert runs(tmp_path) == {"2": 1, "3": 1}


async def test_an_attempt_that_another_one_follows_does_not_run_again(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Its worker was lost between the two."""
    record, call_id = await publish(field, tmp_path, 5)
    await lose(field, record)
    payloads = (serialized(str(tmp_path), 6),)
    await field.send(record, kind="map", lane="lo", call_id=call_id, payloads=payloads, attempt=2)
    await field.start(worker, record)
    assert loads_value(await field.outcome(call_id)) == 6
    await field.drained(record)
    assert runs(tmp_path) == {"6": 1}


@pytest.mark.timeout(120)
async def test_a_worker_that_was_away_comes_too_late(field: Field, tmp_path: Path) -> None:
    """Its input was given to another, whose result stands; its own is refused, and it goes on."""
    source = """
        import os, time
        def f(mark):
            open(mark, 'a').write('x')
            while not os.path.exists(mark + '.go'):
                time.sleep(0.01)
            return os.environ['AFIELD_WORKER_ID']
    """
    record = await field.define(source)
    first, second = [await field.spawn(name) for name in ("wk-first", "wk-second")]
    try:
        await field.start("wk-first", record)
        mark = tmp_path / "mark"
        call = await field.send(record, str(mark))
        await until(mark.exists)
        first.send_signal(signal.SIGSTOP)
        await field.start("wk-second", record)
        await until(lambda: len(mark.read_text()) == 2, timeout=40.0)
        (tmp_path / "mark.go").touch()
        assert await field.value(call) == "wk-second"
        first.send_signal(signal.SIGCONT)
        await field.drained(record)
        assert await field.value(await field.send(record, str(mark))) in ("wk-first", "wk-second")
        assert await field.value(call) == "wk-second"
    finally:
        for process in (first, second):
            os.kill(process.pid, signal.SIGCONT)
            process.terminate()
            await process.wait()


async def test_a_server_that_forgets_deliveries_makes_nothing_run_twice(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """A server that takes over may deliver what was run before as if for the first time: after something newer."""
    record, call_id = await publish(field, tmp_path, 0)
    consumer = subjects.input_consumer("main", record.function_id, "lo")
    came = anyio.Event()
    pull = PullLoop(field.bus, "IN_0", consumer, lambda _: came.set())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pull.run)
        pull.demand(1)
        await came.wait()
        tasks.cancel_scope.cancel()
    await store(field, call_id, "ok")  # whoever took it has not acknowledged it yet
    newer = await field.send(record, kind="map", lane="lo", payloads=(serialized(str(tmp_path), 5),))
    await field.start(worker, record)
    assert await field.value(newer) == 5
    await field.jet.request(f"CONSUMER.DELETE.IN_0.{consumer}")
    await field.jet.create_consumer("IN_0", consumer_config("main", record.function_id, 0, "lo"))
    await field.drained(record)
    assert runs(tmp_path) == {"5": 1}
