"""afield_worker.herald: what a worker says to others, and writes to its log."""

import anyio
import pytest
import structlog.testing

from afield._wire.messages import EventKind
from afield_worker.herald import Herald
from afield_worker.instructions import Report
from support.fleet import function

pytestmark = pytest.mark.anyio


class Deaf:
    """A bus that takes everything and delivers nothing."""

    def send(self, subject: str, payload: bytes) -> None:
        assert subject
        assert payload


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("container.ready", "info"),
        ("container.stopped", "info"),
        ("container.failed", "warning"),
    ],
)
async def test_life_of_a_container_is_logged(kind: EventKind, level: str) -> None:
    """Its start and its end are in the log, with the ids that tie lines together and the names that people know."""
    async with anyio.create_task_group() as tasks:
        herald = Herald(Deaf(), tasks, "wk-1")  # type: ignore[arg-type]
        with structlog.testing.capture_logs() as lines:
            herald.report(Report(kind, "ta-1", "fu-1", "ap-1", "after 0.020 s", None), function("fu-1"))
    (line,) = lines
    assert line["log_level"] == level
    wanted = {
        "worker_id": "wk-1",
        "container_id": "ta-1",
        "function_id": "fu-1",
        "app": "demo",
        "app_id": "ap-1",
    }
    assert {key: line[key] for key in wanted} == wanted
