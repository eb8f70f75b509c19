"""Taskiq on NATS: the pulling JetStream broker, results in the object store, two worker processes as by default."""

import asyncio
import base64
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvloop

from benchmarks.peers.programs.peer import Fly, Peer, cut, joined, not_applicable
from benchmarks.peers.programs.serve import serve
from benchmarks.peers.programs.servers import Child, start_nats

CORES = os.cpu_count() or 1
CHECK_S = 0.001
"""Seconds between looks for the result of one call; the default of 0.2 would be all that is seen."""

TIMEOUT_S = 170
AT_ONCE = 100
"""Calls that are sent, or whose results are asked for, at once: each look for a result is several requests to NATS."""

LARGEST = 64 * 2**20
"""Bytes that a message of NATS can have."""


class TaskiqJetStream(Peer):
    """`kiq`, `wait_result` and `gather`."""

    def __init__(self) -> None:
        self._nats: Child | None = None
        self._worker: Child | None = None
        self._slots = 0
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def start(self, slots: int) -> None:
        self._slots = slots
        self._nats, os.environ["PEERS_NATS"] = start_nats()
        self._start_worker()
        from benchmarks.peers.programs import taskiq_tasks

        self._tasks = taskiq_tasks
        self._run(taskiq_tasks.broker.startup())

    def _start_worker(self) -> None:
        options = ["--workers", str(CORES), "--log-level", "WARNING"]
        if self._slots > CORES:
            options += ["--max-async-tasks", str(self._slots // CORES)]
        command = [sys.executable, "-m", "taskiq", "worker", "benchmarks.peers.programs.taskiq_tasks:broker"]
        self._worker = Child([*command, *options])

    def stop(self) -> None:
        for child in (self._worker, self._nats):
            if child is not None:
                child.kill()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.get_loop().run_until_complete(work)

    async def _call(self, task: Any, argument: Any) -> Any:
        sent = await task.kiq(argument)
        result = await sent.wait_result(check_interval=CHECK_S, timeout=TIMEOUT_S)
        result.raise_for_error()
        return result.return_value

    async def _map(self, task: Any, arguments: Sequence[Any]) -> list[Any]:
        import taskiq

        sent, values = [], []
        for some in cut(arguments, AT_ONCE):
            sent += await asyncio.gather(*(task.kiq(each) for each in some))
        for some in cut(sent, AT_ONCE):
            results = await taskiq.gather(*some, timeout=TIMEOUT_S, periodicity=0.01)
            values += [result.return_value for result in results]
        return values

    def call(self, value: int) -> int:
        return self._run(self._call(self._tasks.noop, value))

    def map(self, values: Sequence[int]) -> list[int]:
        return self._run(self._map(self._tasks.noop, values))

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        return joined(self._run(self._map(self._tasks.batch, [list(part) for part in cut(values, size)])))

    def naps(self, count: int, seconds: float) -> list[float]:
        return self._run(self._map(self._tasks.nap, [seconds] * count))

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        yield self.map

    def nested(self, count: int) -> int:
        return self._run(self._call(self._tasks.total, count))

    def echo(self, data: bytes) -> bytes:
        text = base64.b64encode(data).decode()  # its messages are JSON
        if len(text) > LARGEST:
            not_applicable(f"a call is one message, and one of NATS has at most {LARGEST >> 20} MB")
        return base64.b64decode(self._run(self._call(self._tasks.echo, text)))

    def before_cold(self) -> None:
        """Kill the worker, and wait until the server knows: what it sends to a dead one comes again after 30 s only."""
        if self._worker is not None:
            self._worker.kill()
        self._run(self._nobody_pulls())

    async def _nobody_pulls(self) -> None:
        broker = self._tasks.broker
        async with asyncio.timeout(10):
            pulling = 1
            while pulling:  # each look is a request, so this is no busy loop
                pulling = (await broker.js.consumer_info(broker.stream_name, broker.durable)).num_waiting

    def cold(self, number: int) -> int:
        sent = self._run(self._tasks.noop.kiq(number))
        self._start_worker()
        return self._run(sent.wait_result(check_interval=CHECK_S, timeout=TIMEOUT_S)).return_value


if __name__ == "__main__":
    serve(TaskiqJetStream())
