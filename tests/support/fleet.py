"""Records of workers, containers and functions for tests of the scheduler."""

from typing import Any

from afield._wire.functions import (
    CodeRef,
    ContainerRecord,
    FunctionRecord,
    FunctionSpec,
    Resources,
    Scaling,
    WorkerRecord,
)


def function(
    function_id: str = "fu-1", *, scaling: Scaling | None = None, version: int = 1, **changes: Any
) -> FunctionRecord:
    """A function of app ap-1 on shard 0."""
    spec = FunctionSpec(
        name=function_id,
        code=CodeRef(module="m", qualname="f"),
        scaling=scaling or Scaling(),
        **changes,
    )
    return FunctionRecord(
        function_id=function_id,
        app_id="ap-1",
        app_name="demo",
        ws="main",
        shard=0,
        spec=spec,
        version=version,
    )


def container(
    container_id: str = "ta-1",
    function_id: str = "fu-1",
    *,
    busy: int = 0,
    idle_since: float = 0.0,
    **changes: Any,
) -> ContainerRecord:
    """A ready container."""
    return ContainerRecord(
        **{
            "container_id": container_id,
            "function_id": function_id,
            "app_id": "ap-1",
            "state": "ready",
            "pid": 1,
            "started_at": 1.0,
            "resources": Resources(),
            "busy": busy,
            "idle_since": idle_since,
            **changes,
        }
    )


def worker(worker_id: str = "wk-1", *containers: ContainerRecord, **changes: Any) -> WorkerRecord:
    """A worker with two cores and 4 GiB."""
    return WorkerRecord(
        **{
            "worker_id": worker_id,
            "host": "h",
            "pid": 1,
            "started_at": 1.0,
            "cpus": 2.0,
            "memory_mib": 4096,
            "runners": ("process",),
            "containers": containers,
            **changes,
        }
    )
