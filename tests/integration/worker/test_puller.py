"""Pulling goes on when a consumer comes back, and says little when it does not."""

import pytest
from structlog.testing import capture_logs

from afield._bus.delivery import Delivery
from afield._wire import subjects
from afield._wire.functions import FunctionRecord
from afield._wire.streams import consumer_config
from afield_common.jetstream import JetStream
from afield_worker.puller import LanePull
from support.field import Field, until_true
from support.streams import api
from support.waiting import until

pytestmark = pytest.mark.anyio


async def remove_consumer(field: Field, record: FunctionRecord) -> None:
    stream = subjects.input_stream(record.shard)
    name = subjects.input_consumer(record.ws, record.function_id, "hi")
    await api(field.bus, f"CONSUMER.DELETE.{stream}.{name}")


async def test_a_consumer_that_goes_with_its_app_is_not_told(field: Field) -> None:
    """That is how every app ends: its consumers go first, the order to stop its containers follows."""
    record = await field.define("def f(x): ...")

    async def pulled() -> bool:
        return (await field.consumer(record)).waiting_pulls == 1

    with capture_logs() as logged:
        pull = LanePull(field.bus, record, "hi", lambda *_: None)
        pull.demand(1)
        field.bus.tasks.start_soon(pull.run)
        await until_true(pulled)
        await remove_consumer(field, record)
        await until(lambda: logged)
        await pull.stop()
    assert {each["log_level"] for each in logged} == {"debug"}


async def test_a_consumer_that_stays_away_is_told_once(field: Field) -> None:
    """However often it is tried; when it is made again, what was asked for comes."""
    record = await field.define("def f(x): ...")
    await remove_consumer(field, record)
    came: list[Delivery] = []
    with capture_logs() as logged:
        pull = LanePull(field.bus, record, "hi", lambda _, delivery: came.append(delivery))
        pull.demand(1)
        field.bus.tasks.start_soon(pull.run)
        await until(lambda: len(logged) >= 3)
        config = consumer_config(record.ws, record.function_id, record.shard, "hi")
        await JetStream(field.bus).create_consumer(subjects.input_stream(record.shard), config)
        await field.send(record, 1)
        await until(lambda: came)
        await pull.stop()
    assert [each["log_level"] for each in logged].count("warning") == 1
