"""A worker that ends: it finishes its work or hands it back, and exit hooks run."""

import signal

import anyio
import pytest

from afield._wire.codec import decode
from afield._wire.functions import Concurrency, RetryPolicy
from afield._wire.messages import InputPack
from afield_worker.service import WorkerService
from support.field import Field
from support.waiting import until

pytestmark = pytest.mark.anyio

HOOKED = """
    import atexit, pathlib, time
    def f(arg):
        mark, patient = arg
        file = pathlib.Path(mark)
        first = not file.exists()
        if first:
            atexit.register(lambda: (time.sleep(0.5), file.with_suffix('.hook').touch()))
            file.touch()
            try:
                time.sleep(60)
            except BaseException:
                while not patient:
                    time.sleep(60)
                raise
        return 'done'
"""
"""Runs for a minute the first time; its container has an exit hook, and `patient` code heeds its interruption."""


async def test_sigterm_hands_back_what_does_not_end_in_time(field: Field) -> None:
    """Its exit hooks run first; the input costs no attempt, and the next worker runs it at once."""
    mark = field.folder / "handed-over"
    record = await field.define(HOOKED, retries=RetryPolicy(max_retries=1, initial_delay=60.0))
    seen: list[InputPack] = []
    await field.bus.subscribe(
        f"in.*.*.{record.function_id}.>", lambda msg: seen.append(decode(InputPack, msg.data))
    )
    async with field.worker(drain_s=0.5) as first:
        await field.start(first, record)
        call = await field.send(record, (str(mark), True))
        await until(mark.exists)
    assert mark.with_suffix(".hook").exists()
    async with field.worker() as second:
        await field.start(second, record)
        assert await field.value(call) == "done"
    assert [pack.attempt for pack in seen] == [1]


async def test_what_ignores_the_end_is_killed_and_handed_back(field: Field) -> None:
    """Beside it, what heeds the interruption goes back as well."""
    marks = [field.folder / name for name in ("stubborn", "patient")]
    record = await field.define(HOOKED, concurrency=Concurrency(max_inputs=2))
    async with field.worker(drain_s=0.5) as first:
        await field.start(first, record)
        calls = [await field.send(record, (str(mark), mark.name == "patient")) for mark in marks]
        await until(lambda: all(mark.exists() for mark in marks))
    async with field.worker() as second:
        await field.start(second, record)
        assert [await field.value(call) for call in calls] == ["done", "done"]


async def test_what_ends_in_time_is_not_interrupted(field: Field) -> None:
    """Its value is stored; what waited behind it goes to another worker."""
    source = "import time\ndef f(x):\n    print('began', flush=True)\n    time.sleep(x)\n    return x\n"
    record = await field.define(source)
    field.output.clear()
    async with field.worker(drain_s=10.0) as first:
        await field.start(first, record)
        call = await field.send(record, 1.0)
        await field.until(lambda: "began" in field.text())
    assert await field.value(call) == 1.0
    await field.drained(record)


async def test_a_process_that_is_told_to_end_runs_exit_hooks(field: Field) -> None:
    """Also when the container is idle, and longer than its inputs may take."""
    mark = field.folder / "told-to-end"
    record = await field.define(HOOKED)
    async with await field.spawn("wk-hooks", AFIELD_DRAIN_S="0.1") as process:
        await field.start("wk-hooks", record)
        call = await field.send(record, (str(mark), True))
        await until(mark.exists)
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(30):
            assert await process.wait() == 0
    assert mark.with_suffix(".hook").exists()
    async with field.worker() as worker:
        await field.start(worker, record)
        assert await field.value(call) == "done"


async def test_a_preempted_input_runs_again(field: Field, worker: WorkerService) -> None:
    """Its code is interrupted, its exit hooks run, and no attempt is charged."""
    source = """
        import atexit, pathlib, time
        from afield._guest import preemption
        def f(mark):
            file = pathlib.Path(mark)
            if file.exists():
                return 'done'
            file.touch()
            atexit.register(lambda: file.with_suffix('.hook').touch())
            preemption.simulate(0.1)
            time.sleep(60)
    """
    mark = field.folder / "preempted"
    record = await field.define(source)
    await field.start(worker, record)
    call = await field.send(record, str(mark))
    await until(mark.with_suffix(".hook").exists)
    await field.until(
        lambda: field.said(record, "container.failed") or field.said(record, "container.stopped")
    )
    await field.start(worker, record)
    assert await field.value(call) == "done"
