"""What containers do that they should not, and what their callers are told."""

import re
from typing import Any

import pytest

from afield._wire.functions import FunctionRecord, Resources
from afield._wire.messages import ErrorInfo
from afield_worker.service import WorkerService
from support.field import Field
from support.waiting import until

pytestmark = pytest.mark.anyio


async def started(field: Field, worker: WorkerService, source: str, **spec: Any) -> FunctionRecord:
    """A function with one container."""
    record = await field.define(source, **spec)
    assert (await field.start(worker, record)).accepted
    return record


async def error_of(field: Field, call: str, token: str = "0-1") -> ErrorInfo:
    """The error that a pack of one ended in."""
    outcome = await field.outcome(call, token)
    assert outcome.error is not None, outcome
    return outcome.error


async def test_a_module_that_cannot_be_imported_is_told(field: Field, worker: WorkerService) -> None:
    """The caller gets the import error."""
    record = await field.define("import nothing_of_the_kind\n")
    call = await field.send(record, 1)
    await field.start(worker, record)
    error = await error_of(field, call)
    assert error.kind == "startup"
    assert "nothing_of_the_kind" in error.message
    await field.until(lambda: field.said(record, "container.failed"))
    (event,) = field.said(record, "container.failed")
    assert event.error is not None
    assert (event.error.kind, event.error.message) == ("startup", error.message)


async def test_code_that_is_not_there_is_told(field: Field, worker: WorkerService) -> None:
    """The function was published, its bundle is gone."""
    from dataclasses import replace

    record = await field.define("def f(x): ...\n")
    code = replace(record.spec.code, bundle="0" * 64)
    record = await field.publish_function(replace(record.spec, code=code))
    call = await field.send(record, 1)
    await field.start(worker, record)
    assert "not in the bucket CODE" in (await error_of(field, call)).message


async def test_a_crash_takes_the_input_to_the_next_container(field: Field, worker: WorkerService) -> None:
    """Once is not enough to blame the input."""
    source = """
        import os, pathlib
        def f(mark):
            if not os.path.exists(mark):
                pathlib.Path(mark).touch()
                os.kill(os.getpid(), 11)
            return 'survived'
    """
    record = await started(field, worker, source)
    call = await field.send(record, str(field.folder / "crashed-once"))
    await field.until(lambda: field.said(record, "container.failed"))
    await field.start(worker, record)
    assert await field.value(call) == "survived"


async def test_an_input_that_always_crashes_ends_in_an_error(field: Field, worker: WorkerService) -> None:
    """After eight containers, with exit code and last log lines; the pool goes on."""
    source = "import os\ndef f(x):\n    print('goodbye', flush=True)\n    os._exit(x)\n"
    record = await field.define(source)
    call = await field.send(record, 3)
    for number in range(1, 9):
        await field.start(worker, record)
        await field.until(lambda n=number: len(field.said(record, "container.failed")) == n)
    error = await error_of(field, call)
    assert (error.kind, error.exit_code, error.log_tail[-1]) == ("lost", 3, "goodbye")
    await field.drained(record)


async def test_the_neighbours_of_a_crash_are_not_harmed(field: Field, worker: WorkerService) -> None:
    """What had ended keeps its value; the rest goes on alone."""
    source = """
        import os, time
        def f(x):
            time.sleep(0.01)
            if x == 1:
                os._exit(1)
            return x
    """
    record = await started(field, worker, source)
    call = await field.send(record, 0, 1, 2, kind="map", lane="lo")
    assert [r.status for r in (await field.result(call, "0-3")).results] == ["ok", "moved", "moved"]
    for _ in range(3):
        await field.start(worker, record)
    assert await field.value(call, "2-1") == 2


async def test_running_out_of_memory_is_told_apart(field: Field, worker: WorkerService) -> None:
    """At once, with the limit."""
    source = "def f(x):\n    held = b'x' * (400 << 20)\n    import time\n    time.sleep(30)\n"
    record = await started(field, worker, source, resources=Resources(memory_limit_mib=200))
    error = await error_of(field, await field.send(record, 1))
    assert error.kind == "memory"
    assert re.search(r"it used \d+ MiB, its limit is 200 MiB", error.message), error.message


async def test_sys_exit_is_told_apart_and_harms_nobody(field: Field, worker: WorkerService) -> None:
    """The container lives on."""
    source = "import sys\ndef f(x):\n    print('leaving', flush=True)\n    sys.exit(4) if x else None\n"
    record = await started(field, worker, source)
    error = await error_of(field, await field.send(record, 1))
    assert (error.kind, error.exit_code, error.log_tail[-1]) == ("exit", 4, "leaving")
    assert await field.value(await field.send(record, 0)) is None


async def test_an_error_shows_no_output_of_earlier_calls(field: Field, worker: WorkerService) -> None:
    """Only what was written since its pack began, whether the container lives on or not."""
    source = """
        import os, sys
        print('loading', flush=True)
        def f(x):
            print('call', x, flush=True)
            if x == 1:
                sys.exit(4)
    """
    record = await started(field, worker, source)
    await field.value(await field.send(record, 0))
    assert (await error_of(field, await field.send(record, 1))).log_tail == ("call 1",)


async def test_startup_output_is_in_a_startup_error(field: Field, worker: WorkerService) -> None:
    """There it is what tells."""
    record = await field.define("print('loading', flush=True)\nimport nothing_of_the_kind\n")
    call = await field.send(record, 1)
    await field.start(worker, record)
    assert "loading" in (await error_of(field, call)).log_tail


async def test_a_late_input_is_interrupted(field: Field, worker: WorkerService) -> None:
    """The rest of its pack runs on in the same container."""
    source = "import time\ndef f(x):\n    time.sleep(60 * (x == 1))\n    return x\n"
    record = await started(field, worker, source, timeout=0.3)
    call = await field.send(record, 0, 1, 2, kind="map", lane="lo")
    results = (await field.result(call, "0-3")).results
    assert [r.error.kind if r.error else r.status for r in results] == ["ok", "timeout", "ok"]


async def test_code_that_ignores_the_interrupt_is_killed(field: Field, worker: WorkerService) -> None:
    """Its caller is told of the timeout."""
    source = """
        import signal, time
        def f(x):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            time.sleep(60)
    """
    record = await started(field, worker, source, timeout=0.3)
    assert (await error_of(field, await field.send(record, 1))).kind == "timeout"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_code_that_swallows_its_interruption_is_killed(
    field: Field, worker: WorkerService, kind: str
) -> None:
    """Whatever it catches, and however often; its caller is told of the timeout."""
    sync = "import time\ndef f(x):\n    while True:\n        try:\n            time.sleep(1)\n"
    loop = (
        "import asyncio\nasync def f(x):\n    while True:\n        try:\n            await asyncio.sleep(1)\n"
    )
    source = (sync if kind == "sync" else loop) + "        except BaseException:\n            pass\n"
    record = await started(field, worker, source, timeout=0.3, is_async=kind == "async")
    assert (await error_of(field, await field.send(record, 1))).kind == "timeout"
    await field.until(lambda: field.said(record, "container.stopped"))
    assert field.said(record, "container.stopped")[0].detail == "timed out, killed"


async def test_a_running_input_is_cancelled(field: Field, worker: WorkerService) -> None:
    """The container lives on."""
    source = "import time\ndef f(x):\n    print('began', flush=True)\n    time.sleep(x)\n    return x\n"
    record = await started(field, worker, source)
    field.output.clear()
    call = await field.send(record, 60)
    await field.until(lambda: "began" in field.text())
    await field.control(call, verb="cancel")
    assert (await field.outcome(call)).status == "cancelled"
    assert await field.value(await field.send(record, 0)) == 0


async def test_a_container_that_stops_finishes_its_input(field: Field, worker: WorkerService) -> None:
    """It is idle containers only that the scheduler stops; a busy one stays."""
    source = "import time\ndef f(x):\n    print('began', flush=True)\n    time.sleep(0.3)\n    return x\n"
    record = await started(field, worker, source)
    field.output.clear()
    call = await field.send(record, 5)
    await field.until(lambda: "began" in field.text())
    await field.stop(worker, function_id=record.function_id, only_if_idle=True)
    assert await field.value(call) == 5
    await field.stop(worker, function_id=record.function_id, only_if_idle=True)
    await field.until(lambda: field.said(record, "container.stopped"))


async def test_the_containers_of_a_stopped_app_end_at_once(field: Field, worker: WorkerService) -> None:
    """What runs is cancelled."""
    source = "import time\ndef f(x):\n    print('began', flush=True)\n    time.sleep(60)\n"
    record = await started(field, worker, source)
    field.output.clear()
    call = await field.send(record, 5)
    await field.until(lambda: "began" in field.text())
    await field.stop(worker, app_id="ap-1")
    assert (await field.outcome(call)).status == "cancelled"
    await until(lambda: not worker.record().containers)


async def test_a_single_use_container_takes_one_input(field: Field, worker: WorkerService) -> None:
    """The next input has the next container."""
    record = await started(field, worker, "import os\ndef f(x):\n    return os.getpid()\n", single_use=True)
    first = await field.value(await field.send(record, 1))
    call = await field.send(record, 2)
    await field.start(worker, record)
    assert await field.value(call) != first


async def test_a_busy_worker_leaves_inputs_to_others(field: Field, worker: WorkerService) -> None:
    """Two workers with a container each share two slow inputs."""
    source = "import os, time\ndef f(x):\n    time.sleep(0.5)\n    return os.getppid()\n"
    async with field.worker() as other:
        record = await started(field, worker, source)
        await field.start(other, record)
        await field.until(lambda: len(field.said(record, "container.ready")) >= 2)
        calls = [await field.send(record, 1), await field.send(record, 2)]
        assert len({await field.value(call) for call in calls}) == 2


async def test_a_full_worker_refuses_politely(field: Field) -> None:
    """The reason says what is missing."""
    async with field.worker(memory_mib=200) as small:
        record = await field.define("def f(x): ...\n")
        assert (await field.start(small, record)).accepted
        reply = await field.start(small, record)
        assert not reply.accepted
        assert reply.reason == "it reserves 128 MiB, 72 of 200 are free"


async def test_a_stopping_worker_hands_back_what_it_cannot_finish(field: Field) -> None:
    """The input goes to the next worker as it was, the record and the folders of the first are gone."""
    source = """
        import os, time
        def f(mark):
            if not os.path.exists(mark):
                open(mark, 'w').close()
                time.sleep(60)
            return 'done'
    """
    mark = str(field.folder / "handed-back")
    record = await field.define(source)
    async with field.worker(drain_s=4.0) as first:
        await field.start(first, record)
        call = await field.send(record, mark)
        await until(lambda: (field.folder / "handed-back").exists())
    assert first.worker_id not in [w.worker_id for w in await field.workers()]
    assert not list((field.folder / "run" / "homes").glob(first.worker_id))
    async with field.worker() as second:
        await field.start(second, record)
        assert await field.value(call) == "done"
