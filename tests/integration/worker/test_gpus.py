"""GPUs of a worker: whose they are, and what containers see of them."""

from collections.abc import AsyncIterator

import pytest

from afield._wire.functions import Resources
from afield_worker.service import WorkerService
from support.field import Field, until_true

pytestmark = pytest.mark.anyio

SEEN = "import os\ndef f(x): return os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('NVIDIA_VISIBLE_DEVICES')\n"


@pytest.fixture
async def host(field: Field) -> AsyncIterator[WorkerService]:
    """A worker with three devices."""
    async with field.worker(cpus=1000, memory_mib=10**6, gpus=["H100", "L4", "H100"]) as service:
        yield service


async def test_no_two_containers_share_a_device(field: Field, host: WorkerService) -> None:
    """Each sees its own by number, and a fourth is refused until one has gone."""
    records = [await field.define(SEEN, resources=Resources(gpu=("H100", "any"))) for _ in range(4)]
    for record in records[:3]:
        assert (await field.start(host, record)).accepted
    seen = [await field.value(await field.send(record, 1)) for record in records[:3]]
    assert seen == [("0", "0"), ("2", "2"), ("1", "1")]

    refused = await field.start(host, records[3])
    assert not refused.accepted
    assert refused.reason.endswith("has H100, L4, H100, of which are free: none")

    await field.stop(host, function_id=records[1].function_id)

    async def gone() -> bool:
        return (await field.start(host, records[3])).accepted

    await until_true(gone)
    assert await field.value(await field.send(records[3], 1)) == ("2", "2")


async def test_several_devices_at_once(field: Field, host: WorkerService) -> None:
    """In the order of the bus."""
    record = await field.define(SEEN, resources=Resources(gpu=("H100:2",)))
    await field.start(host, record)
    assert await field.value(await field.send(record, 1)) == ("0,2", "0,2")


async def test_containers_without_devices_see_none(field: Field, host: WorkerService) -> None:
    """Whatever the function's own variables say."""
    record = await field.define(SEEN, env={"CUDA_VISIBLE_DEVICES": "0"})
    await field.start(host, record)
    assert await field.value(await field.send(record, 1)) == ("", "")


async def test_the_record_tells_of_devices_and_labels(field: Field, host: WorkerService) -> None:
    """Those of the host and of each container; what enforces limits is a label."""
    record = await field.define(SEEN, resources=Resources(gpu=("L4",)))
    await field.start(host, record)
    await field.value(await field.send(record, 1))
    (mine,) = [worker for worker in await field.workers() if worker.worker_id == host.worker_id]
    assert mine.gpus == ("H100", "L4", "H100")
    assert [container.gpus for container in mine.containers] == [("L4",)]
    assert {"limits.memory", "limits.cpu"} <= set(mine.labels)


async def test_labels_are_in_the_record(field: Field) -> None:
    """As its operator gave them."""
    async with field.worker(labels={"region": "eu", "zone": "a"}) as worker:
        (mine,) = [each for each in await field.workers() if each.worker_id == worker.worker_id]
        assert mine.labels["region"] == "eu"
        assert mine.labels["zone"] == "a"
