"""Ray: tasks."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from benchmarks.peers.programs.peer import Fly, Peer, cut, joined
from benchmarks.peers.programs.ray_start import CORES, start_ray
from benchmarks.peers.programs.serve import serve


@ray.remote
def noop(value):
    return value


@ray.remote
def batch(values):
    return list(values)


@ray.remote
def nap(seconds):
    import time

    time.sleep(seconds)
    return seconds


@ray.remote
def echo(data):
    return data


@ray.remote
def total(count):
    return sum(ray.get([noop.remote(number) for number in range(count)]))


class RayTasks(Peer):
    """Tasks, and `ray.get` of all their references at once."""

    def __init__(self) -> None:
        self._slots = CORES

    def start(self, slots: int) -> None:
        self._slots = slots
        start_ray()

    def stop(self) -> None:
        ray.shutdown()

    def call(self, value: int) -> int:
        return ray.get(noop.remote(value))

    def map(self, values: Sequence[int]) -> list[int]:
        return ray.get([noop.remote(value) for value in values])

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        return joined(ray.get([batch.remote(part) for part in cut(values, size)]))

    def naps(self, count: int, seconds: float) -> list[float]:
        # Tasks that wait reserve a part of a core each, so that as many run as there are slots.
        small = nap.options(num_cpus=CORES / self._slots)
        return ray.get([small.remote(seconds) for _ in range(count)])

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        async def all_at_once(values: Sequence[int]) -> list[int]:
            return await asyncio.gather(*(noop.remote(value) for value in values))

        with asyncio.Runner() as runner:
            yield lambda values: runner.run(all_at_once(values))

    def nested(self, count: int) -> int:
        return ray.get(total.remote(count))

    def echo(self, data: bytes) -> bytes:
        return ray.get(echo.remote(data))

    def cold(self, number: int) -> int:
        # No worker has this environment, so one is started for it.
        own = {"env_vars": {"PEERS_COLD": f"{os.getpid()}-{number}"}}
        return ray.get(noop.options(runtime_env=own).remote(number))


if __name__ == "__main__":
    serve(RayTasks())
