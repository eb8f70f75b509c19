"""The containers of this worker as things: home, log, process. Starts them; what happens to them goes to Handlers."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from afield._bus.errors import BusError
from afield._wire import guest, subjects
from afield._wire.functions import FunctionRecord
from afield.exception import Error as AfieldError
from afield_common.log import get_logger
from afield_worker.code import CodeCache, CodeMissingError
from afield_worker.gpus import Gpus
from afield_worker.homes import Homes
from afield_worker.logs import ContainerLog, Logs
from afield_worker.runners.base import Container, ContainerHandlers, Runner, RunnerError
from afield_worker.settings import WorkerSettings

log = get_logger(__name__)


class StartError(Exception):
    """Raised when a container cannot be started. `final`: no other try would help."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final: Final = final


class Live:
    """One container from the request for it until it is gone."""

    def __init__(self, record: FunctionRecord, container_log: ContainerLog) -> None:
        self.record = record
        self.log = container_log
        self.container: Container | None = None
        """None until its process is there."""
        self.scope = anyio.CancelScope()
        """Of its start."""


class Place(NamedTuple):
    """Where containers find things, and what they are told."""

    worker_id: str
    blob_dir: Path
    """Where guests put large values."""
    settings: WorkerSettings
    gpus: Gpus
    """Those of this host; each container gets its own."""


class Containers:
    """Makes and ends containers."""

    def __init__(
        self, tasks: TaskGroup, runner: Runner, code: CodeCache, homes: Homes, logs: Logs, place: Place
    ) -> None:
        self._tasks = tasks
        self._runner = runner
        self._code = code
        self._homes = homes
        self._logs = logs
        self._place = place
        self.live: dict[str, Live] = {}

    def begin(self, container_id: str, record: FunctionRecord) -> Live:
        """Make room for a container that is about to be started. Its GPUs must be free."""
        self._place.gpus.allot(container_id, record.spec.resources.gpu)
        subject = subjects.log(record.ws, record.app_id, record.function_id, container_id)
        live = Live(record, self._logs.open(subject, container_id, record.function_id))
        self.live[container_id] = live
        return live

    def launch(
        self,
        container_id: str,
        handlers: ContainerHandlers,
        on_started: Callable[[str, Container], None],
        on_failed: Callable[[str, StartError], None],
    ) -> None:
        """Start the process of a container; one of the callbacks follows."""
        self._tasks.start_soon(self._launch, container_id, handlers, on_started, on_failed)

    def kill(self, container_id: str) -> None:
        """End a container at once, or its start."""
        live = self.live.get(container_id)
        if live is None:
            return
        if live.container is not None:
            live.container.kill("by its worker")
        else:
            live.scope.cancel()

    def forget(self, container_id: str) -> None:
        """A container is gone: send the rest of its output, remove its home."""
        self._place.gpus.free(container_id)
        live = self.live.pop(container_id, None)
        if live is not None:
            live.log.flush()
            self._tasks.start_soon(anyio.to_thread.run_sync, self._homes.remove, container_id)

    async def _launch(
        self,
        container_id: str,
        handlers: ContainerHandlers,
        on_started: Callable[[str, Container], None],
        on_failed: Callable[[str, StartError], None],
    ) -> None:
        live = self.live[container_id]
        problem = StartError("was stopped before it had started", final=False)
        with live.scope:
            try:
                container = await self._start(container_id, live.record, handlers)
            except (CodeMissingError, AfieldError) as error:
                problem = StartError(str(error), final=True)
            except (BusError, OSError, RunnerError) as error:
                log.warning("container not started", container_id=container_id, error=str(error))
                problem = StartError(f"could not be started: {error}", final=False)
            else:
                live.container = container
                on_started(container_id, container)
                return
        on_failed(container_id, problem)

    async def _start(
        self, container_id: str, record: FunctionRecord, handlers: ContainerHandlers
    ) -> Container:
        code = record.spec.code
        bundle = await self._code.bundle(code.bundle) if code.bundle else None
        pickled = await self._code.serialized(code.serialized) if code.serialized else ""
        start = guest.Start(
            container_id=container_id,
            worker_id=self._place.worker_id,
            function=record,
            home=str(self._homes.create(container_id, bundle)),
            blob_dir=str(self._place.blob_dir),
            serialized_path=str(pickled),
        )
        return await self._runner.start(start, self._environment(container_id, record), handlers)

    def _environment(self, container_id: str, record: FunctionRecord) -> dict[str, str]:
        """What lets user code find the platform that it runs on."""
        settings = self._place.settings
        return {
            "AFIELD_SERVER": settings.server,
            "AFIELD_TOKEN": settings.guest_token.get_secret_value(),
            "AFIELD_BLOB_DIR": str(settings.blob_dir),
            "AFIELD_HOST": settings.host,
            "AFIELD_ENVIRONMENT": record.ws,
            "AFIELD_APP_ID": record.app_id,
            "AFIELD_FUNCTION_ID": record.function_id,
            "AFIELD_CONTAINER_ID": container_id,
            "AFIELD_WORKER_ID": self._place.worker_id,
            **self._place.gpus.environment(container_id),
        }
