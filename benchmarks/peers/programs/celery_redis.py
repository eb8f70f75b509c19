"""Celery with Redis as broker and as result backend, a worker with a process for each slot."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.peers.programs.peer import Fly, Peer, joined
from benchmarks.peers.programs.serve import serve
from benchmarks.peers.programs.servers import Child, start_redis

TIMEOUT_S = 170


class CeleryRedis(Peer):
    """`delay`, `group` and `chunks`."""

    def __init__(self) -> None:
        self._redis: Child | None = None
        self._worker: Child | None = None
        self._slots = 0

    def start(self, slots: int) -> None:
        self._slots = slots
        self._redis, os.environ["PEERS_REDIS"] = start_redis()
        self._start_worker()
        from benchmarks.peers.programs import celery_tasks

        self._tasks = celery_tasks

    def _start_worker(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.programs.celery_tasks", "worker"]
        # It refuses to unpickle as root unless told so; nobody but this client can reach its Redis.
        self._worker = Child(
            [*command, "--loglevel", "WARNING", "--concurrency", str(self._slots)],
            env={"C_FORCE_ROOT": "1"},
        )

    def stop(self) -> None:
        for child in (self._worker, self._redis):
            if child is not None:
                child.kill()

    def call(self, value: int) -> int:
        return self._tasks.noop.delay(value).get(timeout=TIMEOUT_S)

    def map(self, values: Sequence[int]) -> list[int]:
        from celery import group

        return group(self._tasks.noop.s(value) for value in values)().get(timeout=TIMEOUT_S)

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        parts = self._tasks.noop.chunks(zip(values), size).group()()
        return joined(parts.get(timeout=TIMEOUT_S))

    def naps(self, count: int, seconds: float) -> list[float]:
        from celery import group

        return group(self._tasks.nap.s(seconds) for _ in range(count))().get(timeout=TIMEOUT_S)

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        from celery.result import ResultSet

        # Celery has no asynchronous client: calls are sent one after another, results are awaited together.
        yield lambda values: ResultSet([self._tasks.noop.delay(value) for value in values]).get(
            timeout=TIMEOUT_S
        )

    def nested(self, count: int) -> int:
        return self._tasks.total.delay(count).get(timeout=TIMEOUT_S)

    def echo(self, data: bytes) -> bytes:
        return self._tasks.echo.delay(data).get(timeout=TIMEOUT_S)

    def before_cold(self) -> None:
        """Stop the worker as operators do; Redis may hand the next message to a killed one, which gets it back in an hour."""
        if self._worker is not None:
            self._worker.end()

    def cold(self, number: int) -> int:
        result = self._tasks.noop.delay(number)
        self._start_worker()
        return result.get(timeout=TIMEOUT_S)


if __name__ == "__main__":
    serve(CeleryRedis())
