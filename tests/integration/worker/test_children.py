"""Calls that inputs made are cancelled with them."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from afield._wire import api, subjects
from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord
from afield._wire.ids import input_id
from afield._wire.messages import Children
from afield_common.errors import RefusedError
from afield_common.micro import serve
from afield_worker import herald
from afield_worker.service import WorkerService
from support.field import Field
from support.waiting import until

pytestmark = pytest.mark.anyio

SLEEPS = "import time\ndef f(x):\n    print('began', flush=True)\n    time.sleep(60)\n"


class Scheduler:
    """Answers requests to cancel: the first ones with errors, if told so."""

    def __init__(self) -> None:
        self.cancelled: list[api.CallRef] = []
        self.errors: list[BaseException] = []

    async def on_cancel(self, ref: api.CallRef) -> api.Done:
        if self.errors:
            raise self.errors.pop()
        self.cancelled.append(ref)
        return api.Done()


@pytest.fixture(scope="module")
async def scheduler(field: Field) -> AsyncIterator[Scheduler]:
    """A stand-in for the scheduler."""
    made = Scheduler()
    async with (
        anyio.create_task_group() as tasks,
        serve(field.bus, tasks, "scheduler", "0.0.0", {api.CALL_CANCEL: made.on_cancel}),
    ):
        yield made
        tasks.cancel_scope.cancel()


async def running(field: Field, worker: WorkerService) -> tuple[FunctionRecord, str]:
    """A call whose only input runs."""
    record = await field.define(SLEEPS)
    await field.start(worker, record)
    field.output.clear()
    call = await field.send(record, 1)
    await field.until(lambda: "began" in field.text())
    return record, call


async def tell(field: Field, worker: WorkerService, call: str, *children: str, **fields: Any) -> None:
    """Say what the client in the container says of calls that it made, and wait until that is known."""
    (container,) = [
        c.id for c in worker.containers for held in c.running.values() if held.pack.call_id == call
    ]
    message = Children(
        container_id=container, parent=input_id(call, 0), ws="main", call_ids=children, **fields
    )
    await field.bus.publish(subjects.container_children(worker.worker_id), encode(message))
    await field.bus.flush()


def ids(scheduler: Scheduler) -> list[str]:
    """The calls that were cancelled so far."""
    return sorted(ref.call_id for ref in scheduler.cancelled)


async def test_children_of_a_cancelled_input_are_cancelled(
    field: Field, worker: WorkerService, scheduler: Scheduler
) -> None:
    """Waited for or spawned."""
    scheduler.cancelled.clear()
    _, call = await running(field, worker)
    await tell(field, worker, call, "fc-x-0-1")
    await tell(field, worker, call, "fc-x-0-2", spawned=True)
    await field.control(call, verb="cancel")
    assert (await field.outcome(call)).status == "cancelled"
    await until(lambda: ids(scheduler) == ["fc-x-0-1", "fc-x-0-2"])
    assert {ref.ws for ref in scheduler.cancelled} == {"main"}


async def test_a_killed_container_leaves_what_it_spawned(
    field: Field, worker: WorkerService, scheduler: Scheduler
) -> None:
    """What it waited for is of no use any more."""
    scheduler.cancelled.clear()
    record, call = await running(field, worker)
    await tell(field, worker, call, "fc-x-0-4", spawned=True)
    await tell(field, worker, call, "fc-x-0-3")
    (container,) = [c for c in worker.containers if c.function.record == record]
    await anyio.run_process(["kill", "-9", str(container.pid)])
    await until(lambda: ids(scheduler) == ["fc-x-0-3"])
    await field.control(call, verb="cancel")


async def test_a_scheduler_that_cannot_is_asked_again(
    field: Field, worker: WorkerService, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is not known any more is let alone."""
    monkeypatch.setattr(herald, "CANCEL_PAUSE_S", 0.01)
    scheduler.cancelled.clear()
    scheduler.errors += [
        RefusedError("unavailable", "no leader"),
        RefusedError("unavailable", "no leader"),
    ]
    _, call = await running(field, worker)
    await tell(field, worker, call, "fc-x-0-5")
    await field.control(call, verb="cancel")
    await until(lambda: ids(scheduler) == ["fc-x-0-5"])
    assert not scheduler.errors
