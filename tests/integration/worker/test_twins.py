"""Two runs of the same pack: the result that is stored first decides, whatever the other one came to."""

import os
import signal
from pathlib import Path

import pytest

from afield._wire import subjects
from afield._wire.codec import encode
from afield._wire.functions import RetryPolicy
from afield._wire.messages import InputResult, ResultPack, Status
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


async def store(field: Field, call_id: str, *statuses: Status) -> None:
    """Store a result of the pack `0-3`, as another worker."""
    results = tuple(
        InputResult(index=i, status=status, value=dumps(-i).join() if status == "ok" else None)
        for i, status in enumerate(statuses)
    )
    body = ResultPack(call_id=call_id, first=0, results=results, container_id="ta-else", worker_id="wk-else")
    subject = subjects.result("main", call_id, Pack(0, len(results)))
    await field.bus.publisher.publish(subject, encode(body), msg_id=f"{call_id}.0-3.else")


async def run_pack(field: Field, worker: WorkerService, folder: Path, *statuses: Status) -> tuple[str, Path]:
    """Run a pack of three, of which one is to be tried again, when another run of it has stored this result."""
    record = await field.define(COUNTS, retries=RetryPolicy(max_retries=2, initial_delay=0.0))
    call_id = field.new_call()
    await store(field, call_id, *statuses)
    payloads = tuple(serialized(str(folder), x) for x in range(3))
    await field.send(record, kind="map", lane="lo", call_id=call_id, payloads=payloads)
    await field.start(worker, record)
    await field.drained(record)
    return call_id, folder


def serialized(*args: object) -> bytes:
    """Arguments of a call."""
    from afield.serialization import dumps_call

    return dumps_call(args, {}).join()


async def test_an_input_that_has_a_result_is_not_tried_again(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Our own run of it failed, the one that counts did not: there is no further attempt, and no second result."""
    call_id, folder = await run_pack(field, worker, tmp_path, "ok", "ok", "ok")
    assert (folder / "1").stat().st_size == 1
    assert [token for call, token in field.results if call == call_id] == ["0-3"]


async def test_an_input_that_another_run_moved_goes_on(
    field: Field, worker: WorkerService, tmp_path: Path
) -> None:
    """Whoever stored the result may have died before it sent the inputs on that had no end."""
    call_id, _ = await run_pack(field, worker, tmp_path, "ok", "ok", "moved")
    outcome = await field.outcome(call_id, "2-1")
    assert isinstance(outcome.value, bytes)
    assert loads(outcome.value) == 2
    assert (call_id, "1-1") not in field.results


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
