"""Attempts: what the next one knows of those before, and that the server keeps its delay, whoever dies meanwhile."""

from pathlib import Path

import anyio
import pytest

from afield._wire import subjects
from afield._wire.codec import decode
from afield._wire.functions import RetryPolicy
from afield._wire.messages import InputPack
from afield_common.jetstream import JetStream
from afield_worker.service import WorkerService
from support.field import Field, field_on, until_true
from support.nats import NatsServer

pytestmark = pytest.mark.anyio

NOTED = """
    import time
    def f(path):
        with open(path, 'a') as file:
            file.write(f'{time.time()} ')
        with open(path) as file:
            attempt = len(file.read().split())
        if attempt < 2:
            raise ValueError(f'attempt {attempt}\\nand more')
        return attempt
"""
"""Notes when each attempt began; the first one fails."""


async def test_an_error_tells_of_the_attempts_before(field: Field, worker: WorkerService) -> None:
    """Each with its number, its error in a line, its container and its time, oldest first."""
    source = "def f(x):\n    raise KeyError(x)\n"
    record = await field.define(source, retries=RetryPolicy(max_retries=2, initial_delay=0.01))
    await field.start(worker, record)
    call = await field.send(record, "spam")
    error = (await field.outcome(call)).error
    assert error is not None
    assert [(a.number, a.kind, a.message) for a in error.history] == [
        (1, "exception", "KeyError: 'spam'"),
        (2, "exception", "KeyError: 'spam'"),
    ]
    assert {a.container_id for a in error.history} == {error.container_id}
    assert error.history[0].at <= error.history[1].at


async def test_a_pack_of_many_gives_each_input_its_own_attempts(field: Field, worker: WorkerService) -> None:
    """The method and the history go along with what moves on."""
    source = "def f(x):\n    if x:\n        raise ValueError(x)\n"
    record = await field.define(source, retries=RetryPolicy(max_retries=1, initial_delay=0.01))
    await field.start(worker, record)
    seen: list[InputPack] = []
    await field.bus.subscribe("in.>", lambda msg: seen.append(decode(InputPack, msg.data)))
    call = await field.send(record, 0, 1, 2, kind="map", lane="lo", method="")
    for token in ("1-1", "2-1"):
        error = (await field.outcome(call, token)).error
        assert error is not None
        assert [a.message for a in error.history] == [f"ValueError: {token[0]}"]
    again = [pack for pack in seen if pack.attempt == 2]
    assert [pack.first for pack in again] == [1, 2]
    assert all(pack.history[0].kind == "exception" for pack in again)


@pytest.mark.slow
async def test_the_server_keeps_the_delay_of_an_attempt(server: NatsServer, tmp_path: Path) -> None:
    """The worker and the server are killed in the middle of it; the attempt is neither lost, nor early, nor charged."""
    delay = 5.0
    noted = tmp_path / "noted"
    with server:
        async with field_on(server.url, tmp_path) as field:
            record = await field.define(NOTED, retries=RetryPolicy(max_retries=1, initial_delay=delay))
            async with await field.spawn("wk-first") as process:
                await field.start("wk-first", record)
                call = await field.send(record, str(noted))

                jet = JetStream(field.bus)

                async def waits() -> bool:
                    """The second attempt is stored, the first one acknowledged, and the server keeps the delay."""
                    state = await field.consumer(record)
                    stored = await jet.subjects("IN_0", subjects.inputs_of_call("main", call))
                    attempts = [subjects.parse_input(each).attempt for each in stored.subjects]
                    return (attempts, state.pending, state.ack_pending) == ([2], 0, 1)

                await until_true(waits)
                process.kill()
            await anyio.to_thread.run_sync(server.restart)
            async with field.worker() as second:
                await field.start(second, record)
                assert await field.value(call) == 2
            first, again = map(float, noted.read_text().split())
            assert again - first >= delay
            await field.drained(record)


@pytest.mark.slow
async def test_a_thousand_inputs_that_wait_for_their_retry_hold_up_nobody(
    server: NatsServer, tmp_path: Path
) -> None:
    """Others of the same function, in both lanes, run while they wait for a minute."""
    source = "def f(x):\n    if x < 0:\n        raise ValueError(x)\n    return x\n"
    with server:
        async with field_on(server.url, tmp_path) as field, field.worker() as worker:
            record = await field.define(source, retries=RetryPolicy(max_retries=1, initial_delay=60.0))
            await field.start(worker, record)
            failing = field.new_call()
            for first in range(0, 1000, 50):
                args = range(-1 - first, -51 - first, -1)
                await field.send(record, *args, kind="map", lane="lo", call_id=failing, first=first)
            for first in range(0, 1000, 50):
                moved = await field.result(failing, f"{first}-50")
                assert {result.status for result in moved.results} == {"moved"}

            async def all_wait() -> bool:
                state = await field.consumer(record, "lo")
                return (state.pending, state.ack_pending) == (0, 1000)

            await until_true(all_wait)
            assert await field.value(await field.send(record, 1)) == 1
            assert await field.value(await field.send(record, 2, kind="map", lane="lo")) == 2
            assert (await field.consumer(record, "lo")).ack_pending >= 1000
