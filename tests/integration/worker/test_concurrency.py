"""Several inputs at once in one container, with the real guest."""

from typing import Any

import pytest

from afield._wire.functions import Batching, Concurrency, FunctionRecord, RetryPolicy
from afield_worker.service import WorkerService
from support.field import Field
from support.waiting import until

pytestmark = pytest.mark.anyio

MEET = """
    import threading
    meeting = threading.Barrier(3)
    def f(x):
        meeting.wait(20)
        return x
"""

SWALLOWS = """
    import pathlib, time
    def f(arg):
        what, mark = arg
        with open(mark, 'a') as file:
            file.write(what)
        if what == 'stuck':
            while True:
                try:
                    while True:
                        time.sleep(0.01)
                except BaseException:
                    pass
        while len(pathlib.Path(mark).read_text().split('+')) < 3:
            time.sleep(0.01)
        return 'done'
"""


async def started(field: Field, worker: WorkerService, source: str, **spec: Any) -> FunctionRecord:
    """A function with one container."""
    record = await field.define(source, **spec)
    assert (await field.start(worker, record)).accepted
    return record


async def test_threads_run_side_by_side(field: Field, worker: WorkerService) -> None:
    """Three inputs wait for each other in one container."""
    record = await started(field, worker, MEET, concurrency=Concurrency(max_inputs=3))
    calls = [await field.send(record, number) for number in range(3)]
    assert [await field.value(call) for call in calls] == [0, 1, 2]
    assert len(field.said(record, "container.ready")) == 1


async def test_tasks_run_side_by_side(field: Field, worker: WorkerService) -> None:
    """The same in an event loop."""
    source = """
        import asyncio
        arrived = []
        async def f(x):
            arrived.append(x)
            while len(arrived) < 3:
                await asyncio.sleep(0.005)
            return x
    """
    record = await started(field, worker, source, is_async=True, concurrency=Concurrency(max_inputs=3))
    calls = [await field.send(record, number) for number in range(3)]
    assert [await field.value(call) for call in calls] == [0, 1, 2]


async def test_the_record_tells_of_all_that_runs(field: Field, worker: WorkerService) -> None:
    """Busy for each pack, and the inputs that run."""
    source = "import os, time\ndef f(path):\n    while not os.path.exists(path):\n        time.sleep(0.01)\n"
    record = await started(field, worker, source, concurrency=Concurrency(max_inputs=3))
    mark = field.folder / "go-on"
    calls = [await field.send(record, str(mark)) for _ in range(2)]

    def told() -> tuple[int, list[int]]:
        mine = worker.record()
        busy = [c.busy for c in mine.containers if c.function_id == record.function_id]
        return mine.inputs_running.get(record.function_id, 0), busy

    await until(lambda: told() == (2, [2]))
    mark.touch()
    for call in calls:
        assert await field.value(call) is None
    await until(lambda: told() == (0, [0]))


@pytest.mark.parametrize("why", ["timeout", "cancelled"])
async def test_code_that_swallows_everything_costs_its_neighbours_nothing(
    field: Field, worker: WorkerService, why: str
) -> None:
    """Its container is killed; what ran beside it runs elsewhere, in the same attempt."""
    limit = 3.0 if why == "timeout" else 60.0
    record = await started(field, worker, SWALLOWS, concurrency=Concurrency(max_inputs=2), timeout=limit)
    mark = field.folder / f"swallows-{why}"
    stuck = await field.send(record, ("stuck", str(mark)))
    await until(lambda: mark.exists() and "stuck" in mark.read_text())
    if why == "timeout":
        await until(lambda: any(held.verdict for c in worker.containers for held in c.running.values()))
    beside = await field.send(record, ("beside+", str(mark)))
    await until(lambda: "beside" in mark.read_text())
    if why == "cancelled":
        await field.control(stuck, verb="cancel")
    await field.until(lambda: field.said(record, "container.stopped"))
    await field.start(worker, record)
    outcome = await field.outcome(stuck)
    assert (outcome.error.kind if outcome.error else outcome.status) == why
    assert await field.value(beside) == "done"
    assert mark.read_text() == "stuckbeside+beside+"


async def test_a_late_thread_is_interrupted_and_tells_where_it_was(
    field: Field, worker: WorkerService
) -> None:
    """The container lives on, and so does what runs beside it."""
    source = """
        import time
        def f(seconds):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.01)
            return seconds
    """
    record = await started(field, worker, source, concurrency=Concurrency(max_inputs=2), timeout=1.0)
    late, quick = await field.send(record, 60), await field.send(record, 0.7)
    error = (await field.outcome(late)).error
    assert error is not None
    assert error.kind == "timeout"
    assert "time.sleep(0.01)" in error.traceback
    assert await field.value(quick) == 0.7
    assert await field.value(await field.send(record, 0)) == 0
    assert len(field.said(record, "container.ready")) == 1


async def test_a_late_task_is_cancelled_and_tells_where_it_was(field: Field, worker: WorkerService) -> None:
    """By its event loop."""
    source = "import asyncio\nasync def f(x):\n    await asyncio.sleep(x)\n    return x\n"
    record = await started(
        field, worker, source, is_async=True, concurrency=Concurrency(max_inputs=2), timeout=0.5
    )
    late, quick = await field.send(record, 60), await field.send(record, 0.01)
    error = (await field.outcome(late)).error
    assert error is not None
    assert error.kind == "timeout"
    assert "await asyncio.sleep(x)" in error.traceback
    assert await field.value(quick) == 0.01


async def test_a_crash_of_the_container_loses_no_neighbour(field: Field, worker: WorkerService) -> None:
    """Both run again."""
    source = """
        import os, pathlib, time
        def f(mark):
            file = pathlib.Path(mark)
            with file.open('a') as out:
                out.write('+')
            while len(file.read_text()) < 2:
                time.sleep(0.01)
            if len(file.read_text()) == 2:
                time.sleep(0.1)
                os.kill(os.getpid(), 9)
            return 'survived'
    """
    record = await started(field, worker, source, concurrency=Concurrency(max_inputs=2))
    mark = str(field.folder / "crash-beside")
    calls = [await field.send(record, mark) for _ in range(2)]
    await field.until(lambda: field.said(record, "container.failed"))
    await field.start(worker, record)
    assert [await field.value(call) for call in calls] == ["survived", "survived"]


async def test_inputs_of_several_packs_run_as_one_batch(field: Field, worker: WorkerService) -> None:
    """The function gets lists; each input has its own result."""
    source = "def f(xs):\n    return [(x, len(xs)) for x in xs]\n"
    record = await started(field, worker, source, batching=Batching(max_batch_size=4, wait_ms=20_000))
    calls = [await field.send(record, number) for number in range(2)]
    calls.append(await field.send(record, 2, 3, kind="map", lane="lo"))
    assert [await field.value(call) for call in calls[:2]] == [(0, 4), (1, 4)]
    assert len((await field.result(calls[2], "0-2")).results) == 2


async def test_a_late_batch_is_late_as_a_whole(field: Field, worker: WorkerService) -> None:
    """The time that its inputs waited for each other does not count."""
    source = """
        import time
        def f(xs):
            until = time.monotonic() + 60
            while time.monotonic() < until:
                time.sleep(0.01)
    """
    record = await started(
        field, worker, source, batching=Batching(max_batch_size=2, wait_ms=1000), timeout=0.8
    )
    calls = [await field.send(record, 0), await field.send(record, 1)]
    errors = [(await field.outcome(call)).error for call in calls]
    assert [error.kind if error else "" for error in errors] == ["timeout", "timeout"]


async def test_a_failed_batch_is_tried_again_one_by_one(field: Field, worker: WorkerService) -> None:
    """Each input counts its own attempts."""
    source = """
        tries = []
        def f(xs):
            tries.append(len(xs))
            if len(tries) == 1:
                raise ValueError('first')
            return xs
    """
    record = await started(
        field,
        worker,
        source,
        batching=Batching(max_batch_size=2, wait_ms=200),
        retries=RetryPolicy(max_retries=1, initial_delay=0.01),
    )
    calls = [await field.send(record, 0), await field.send(record, 1)]
    assert [await field.value(call) for call in calls] == [0, 1]
