"""Inputs go in, results come out: a worker with real containers on a real server."""

from typing import Any

import pytest

from afield import serialization
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, RetryPolicy
from afield._wire.messages import BlobRef, InputPack, ResultPack
from afield_worker.service import WorkerService
from support.field import HOST, Field, until_true
from support.waiting import until

pytestmark = pytest.mark.anyio


async def started(field: Field, worker: WorkerService, source: str, **spec: Any) -> FunctionRecord:
    """A function with one container."""
    record = await field.define(source, **spec)
    assert (await field.start(worker, record)).accepted
    return record


SQUARE = "def f(x):\n    return x * x\n"


async def test_a_call_comes_back_with_its_value(field: Field, worker: WorkerService) -> None:
    """The input leaves the stream when its result is stored."""
    record = await started(field, worker, SQUARE)
    assert await field.value(await field.send(record, 7)) == 49
    await field.drained(record)


async def test_a_cold_call_waits_here_for_its_container(field: Field, worker: WorkerService) -> None:
    """What was published before the container started is pulled while it starts."""
    record = await field.define(SQUARE)
    call = await field.send(record, 3)
    await field.start(worker, record)
    assert await field.value(call) == 9


async def test_a_pack_has_one_result_message(field: Field, worker: WorkerService) -> None:
    """The results stand in the order of the inputs."""
    record = await started(field, worker, SQUARE)
    call = await field.send(record, *range(64), kind="map", lane="lo")
    results = (await field.result(call, "0-64")).results
    assert [serialization.loads(r.value) for r in results if isinstance(r.value, bytes)] == [
        x * x for x in range(64)
    ]


async def test_many_packs_share_a_container(field: Field, worker: WorkerService) -> None:
    """All of them arrive, and nothing is left in the stream."""
    record = await started(field, worker, SQUARE)
    call = field.new_call()
    for first in range(0, 400, 4):
        await field.send(record, *range(first, first + 4), kind="map", lane="lo", call_id=call, first=first)
    for first in range(0, 400, 4):
        assert len((await field.result(call, f"{first}-4")).results) == 4
    await field.drained(record)


async def test_an_exception_comes_back(field: Field, worker: WorkerService) -> None:
    """With its type, its message and the remote frames."""
    record = await started(field, worker, "def f(x):\n    raise LookupError(f'no {x}')\n")
    error = (await field.outcome(await field.send(record, 5))).error
    assert error is not None
    assert (error.kind, error.message) == ("exception", "no 5")
    assert "usercode.py" in error.traceback


async def test_retries_are_new_attempts_after_their_delay(field: Field, worker: WorkerService) -> None:
    """Each attempt is a message of its own; the last one's value is the result."""
    source = """
        tries = []
        def f(x):
            tries.append(x)
            if len(tries) < 3:
                raise ValueError(len(tries))
            return len(tries)
    """
    policy = RetryPolicy(max_retries=3, initial_delay=0.05)
    record = await started(field, worker, source, retries=policy)
    assert await field.value(await field.send(record, 1)) == 3
    await field.drained(record)


async def test_a_retry_leaves_its_pack(field: Field, worker: WorkerService) -> None:
    """The pack says `moved`; the input's result has a token of its own."""
    source = """
        failed = []
        def f(x):
            if x == 1 and not failed:
                failed.append(x)
                raise ValueError(x)
            return x
    """
    policy = RetryPolicy(max_retries=1, initial_delay=0.05)
    record = await started(field, worker, source, retries=policy)
    call = await field.send(record, 0, 1, 2, kind="map", lane="lo")
    assert [r.status for r in (await field.result(call, "0-3")).results] == ["ok", "moved", "ok"]
    assert await field.value(call, "1-1") == 1


async def test_the_first_result_stands(field: Field, worker: WorkerService) -> None:
    """A worker that comes second acknowledges its input all the same."""
    record = await started(field, worker, SQUARE)
    call = field.new_call()
    theirs = ResultPack(call_id=call, first=0, results=(), container_id="theirs", worker_id="other")
    subject = f"out.0.main.{field.session}.{call}.0-1"
    await field.bus.publisher.publish(subject, encode(theirs), msg_id="other")
    await field.send(record, 1, call_id=call)
    await field.drained(record)
    assert await field.result(call) == theirs


async def test_output_comes_before_its_result(field: Field, worker: WorkerService) -> None:
    """Also without a newline, and with the input's id."""
    record = await started(field, worker, "import sys\ndef f(x):\n    sys.stdout.write('half a line')\n")
    field.seen.clear()
    call = await field.send(record, 1)
    await field.result(call)
    assert field.seen == ["log", "0-1"]
    (log,) = field.output[-1].records
    assert (log.stream, log.data, log.input_id) == ("stdout", b"half a line", f"in{call[2:]}-0")


async def test_large_values_for_a_caller_on_this_host_are_files(field: Field, worker: WorkerService) -> None:
    """Arguments are read in place and removed with the input; values are moved, not copied."""
    record = await started(field, worker, "def f(x):\n    return x + b'!'\n")
    data = serialization.dumps_call((b"x" * 1_000_000,), {})
    ref = field.files.write(data.parts, call_id=(call := field.new_call()))
    await field.send(record, call_id=call, payloads=(ref,))
    value = (await field.outcome(call)).value
    assert isinstance(value, BlobRef)
    assert (value.tier, value.host) == ("file", HOST)
    assert serialization.loads(field.files.open(value)) == b"x" * 1_000_000 + b"!"
    await field.drained(record)
    await until(lambda: not field.files.path(ref).exists())


async def test_large_values_for_a_caller_elsewhere_go_through_the_stream(
    field: Field, worker: WorkerService
) -> None:
    """Arguments from the bucket are fetched first, and removed with the input."""
    record = await started(field, worker, "def f(x):\n    return x + b'!'\n")
    data = serialization.dumps_call((b"x" * 1_000_000,), {})
    digest = await field.tmp.put(name := field.new_call(), data.parts)
    ref = BlobRef(tier="stream", name=name, size=data.size, sha256=digest)
    call = await field.send(record, payloads=(ref,), caller_host="elsewhere")
    value = (await field.outcome(call)).value
    assert isinstance(value, BlobRef)
    assert value.tier == "stream"
    assert serialization.loads(await field.tmp.get(value.name)) == b"x" * 1_000_000 + b"!"
    await until_true(lambda: field.missing(name))


async def test_arguments_that_are_gone_are_an_error(field: Field, worker: WorkerService) -> None:
    """The caller is told, and the input does not come back."""
    record = await started(field, worker, SQUARE)
    ref = BlobRef(tier="stream", name="nothing", size=300_000)
    error = (await field.outcome(await field.send(record, payloads=(ref,)))).error
    assert error is not None
    assert "nothing" in error.message
    await field.drained(record)


async def test_values_that_are_too_large_together_become_blobs(field: Field, worker: WorkerService) -> None:
    """Each fits into a message, all of them do not."""
    record = await started(field, worker, "def f(x):\n    return x * 200_000\n")
    call = await field.send(record, *[b"x"] * 16, kind="map", lane="lo")
    results = (await field.result(call, "0-16")).results
    values = [field.files.open(r.value) if isinstance(r.value, BlobRef) else r.value for r in results]
    assert [len(serialization.loads(value or b"")) for value in values] == [200_000] * 16


EMPTY = InputPack(call_id="fc-s-0-1", function_id="fu-1", kind="call", first=0, args=(), sent_at=0.0)


@pytest.mark.parametrize("data", [b"\xc1", encode(EMPTY)], ids=["bytes", "no inputs"])
async def test_a_message_that_cannot_be_read_is_answered(
    field: Field, worker: WorkerService, data: bytes
) -> None:
    """Its subject names the caller, who would wait for ever."""
    record = await started(field, worker, SQUARE)
    call = field.new_call()
    subject = f"in.0.main.{record.function_id}.hi.{call}.0-1.1"
    await field.bus.publisher.publish(subject, data, msg_id=call)
    error = (await field.outcome(call)).error
    assert error is not None
    assert error.kind == "internal"
    await field.drained(record)


async def test_a_message_that_nobody_can_answer_is_removed(field: Field, worker: WorkerService) -> None:
    """It would come back for ever."""
    record = await started(field, worker, SQUARE)
    subject = f"in.0.main.{record.function_id}.hi.{field.new_call()}.nonsense.1"
    await field.bus.publisher.publish(subject, b"", msg_id=subject)
    await field.drained(record)


async def test_what_a_slow_pack_holds_up_goes_to_another_container(
    field: Field, worker: WorkerService
) -> None:
    """It may be what the slow one waits for: here it is, so it must not wait behind it."""
    source = """
        import os, time
        def f(mark):
            if mark.startswith("wait "):
                while not os.path.exists(mark[5:]):
                    time.sleep(0.01)
            elif mark:
                open(mark, "w").close()
    """
    record = await started(field, worker, source)
    for _ in range(5):
        await field.value(await field.send(record, ""))
    mark = str(field.folder / field.new_call())
    waits = await field.send(record, f"wait {mark}")
    marks = await field.send(record, mark)
    await field.start(worker, record)
    assert await field.value(marks) is None
    assert await field.value(waits) is None


async def test_a_generator_sends_chunks_and_then_its_end(field: Field, worker: WorkerService) -> None:
    """The end is stored after every value, and credit keeps the generator going."""
    record = await started(field, worker, "def f(n):\n    yield from range(n)\n", is_generator=True)
    call = await field.send(record, 200, kind="generator")
    await field.until(lambda: sum(len(c.values) for c in field.chunks.get(call, [])) == 128)
    assert (call, "0-1") not in field.results
    await field.control(call, verb="credit", consumed=100)
    assert (await field.outcome(call)).status == "ok"
    values = [v for c in sorted(field.chunks[call], key=lambda c: c.first) for v in c.values]
    assert [serialization.loads(v) for v in values if isinstance(v, bytes)] == list(range(200))


async def test_an_async_function_runs(field: Field, worker: WorkerService) -> None:
    """On a loop of the container."""
    source = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1\n"
    record = await started(field, worker, source, is_async=True)
    assert await field.value(await field.send(record, 1)) == 2
