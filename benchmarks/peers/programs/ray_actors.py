"""Ray: actors, one for each slot. Calls go to them in turn, all at once, as their queues take them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from benchmarks.peers.programs.peer import Fly, Peer, cut, joined
from benchmarks.peers.programs.ray_start import CORES, start_ray
from benchmarks.peers.programs.serve import serve


@ray.remote
class Worker:
    """Does everything."""

    def noop(self, value):
        return value

    def batch(self, values):
        return list(values)

    def nap(self, seconds):
        import time

        time.sleep(seconds)
        return seconds

    def echo(self, data):
        return data

    def total(self, count, workers):
        calls = [workers[number % len(workers)].noop.remote(number) for number in range(count)]
        return sum(ray.get(calls))


class RayActors(Peer):
    """Methods of actors that are there already; each cold call makes one."""

    def __init__(self) -> None:
        self._slots = CORES
        self._made = []
        self._caller = None

    def start(self, slots: int) -> None:
        self._slots = slots
        start_ray()

    def stop(self) -> None:
        ray.shutdown()

    @property
    def _workers(self):
        # Made at first use: an idle system has none.
        if not self._made:
            part = CORES / self._slots
            self._made = [Worker.options(num_cpus=part).remote() for _ in range(self._slots)]
        return self._made

    def _send(self, method: str, arguments: Sequence[object]):
        workers = [getattr(worker, method) for worker in self._workers]
        return [workers[index % len(workers)].remote(each) for index, each in enumerate(arguments)]

    def call(self, value: int) -> int:
        return ray.get(self._workers[0].noop.remote(value))

    def map(self, values: Sequence[int]) -> list[int]:
        return ray.get(self._send("noop", values))

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        return joined(ray.get(self._send("batch", list(cut(values, size)))))

    def naps(self, count: int, seconds: float) -> list[float]:
        return ray.get(self._send("nap", [seconds] * count))

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        async def all_at_once(values: Sequence[int]) -> list[int]:
            return await asyncio.gather(*self._send("noop", values))

        with asyncio.Runner() as runner:
            yield lambda values: runner.run(all_at_once(values))

    def nested(self, count: int) -> int:
        if self._caller is None:
            self._caller = Worker.options(num_cpus=0).remote()
        return ray.get(self._caller.total.remote(count, self._workers))

    def echo(self, data: bytes) -> bytes:
        return ray.get(self._workers[0].echo.remote(data))

    def cold(self, number: int) -> int:
        return ray.get(Worker.options(num_cpus=0).remote().noop.remote(number))


if __name__ == "__main__":
    serve(RayActors())
