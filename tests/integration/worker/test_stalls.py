"""A worker that cannot work says why in its record."""

from dataclasses import replace
from pathlib import Path

import pytest

from afield._wire import subjects
from afield._wire.functions import RetryPolicy
from afield._wire.streams import RESULTS, input_stream
from afield_worker import insistence, moves, puller
from support.field import Field, field_on, until_true
from support.nats import NatsServer
from support.streams import api
from support.waiting import until

pytestmark = pytest.mark.anyio


async def stalled(field: Field) -> list[str]:
    """What the bucket says keeps workers from working."""
    return [worker.stalled for worker in await field.workers()]


async def test_results_that_are_not_taken_are_told_and_kept(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input ran once; its result is stored when there is room again."""
    monkeypatch.setattr(insistence, "STALLED_S", 0.1)
    source = "def f(path):\n    with open(path, 'a') as file:\n        file.write('+')\n    return 'kept'\n"
    mark = tmp_path / "ran"
    with server:
        async with field_on(server.url, tmp_path) as field, field.worker() as worker:
            record = await field.define(source)
            await field.start(worker, record)
            first = await field.send(record, str(mark))
            assert await field.value(first) == "kept"
            full = replace(RESULTS, config={**RESULTS.config, "max_msgs": 1})
            await field.jet.update_stream(full)
            call = await field.send(record, str(mark))
            await until(lambda: "1 packs wait to be stored" in worker.record().stalled)

            async def told() -> bool:
                return any("maximum messages exceeded" in text for text in await stalled(field))

            await until_true(told)
            roomy = replace(RESULTS, config={**RESULTS.config, "max_msgs": -1})
            await field.jet.update_stream(roomy)
            assert await field.value(call) == "kept"
            await until(lambda: not worker.record().stalled)
            assert mark.read_text() == "++"


async def test_attempts_for_which_there_is_no_room_end_in_their_error(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were they waited for, a stream full of inputs that fail would never get any emptier."""
    monkeypatch.setattr(moves, "MOVE_PATIENCE_S", 0.2)
    with server:
        async with field_on(server.url, tmp_path) as field, field.worker() as worker:
            retries = RetryPolicy(max_retries=3, initial_delay=0.0)
            record = await field.define("def f(x):\n    raise ValueError(x)\n", retries=retries)
            await field.start(worker, record)
            spec = input_stream(record.shard)
            await field.jet.update_stream(replace(spec, config={**spec.config, "max_msgs": 1}))
            call = await field.send(record, "bad")
            ended = await field.outcome(call)

            assert ended.error is not None
            assert (ended.error.kind, ended.error.message) == ("exception", "bad")
            assert [(a.number, a.kind) for a in ended.error.history] == [(2, "internal")]


async def test_a_consumer_that_is_gone_is_told(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the function, for as long as it cannot be pulled from."""
    monkeypatch.setattr(puller, "SETTLED_S", 3.0)
    with server:
        async with field_on(server.url, tmp_path) as field, field.worker() as worker:
            record = await field.define("def f(x):\n    return x\n")
            await field.start(worker, record)
            assert await field.value(await field.send(record, 1)) == 1
            stream = subjects.input_stream(record.shard)
            name = subjects.input_consumer(record.ws, record.function_id, "hi")
            await api(field.bus, f"CONSUMER.DELETE.{stream}.{name}")
            await until(lambda: "inputs of f cannot be pulled" in worker.record().stalled)
            await field.stop(worker, function_id=record.function_id)
            await until(lambda: not worker.record().stalled)
