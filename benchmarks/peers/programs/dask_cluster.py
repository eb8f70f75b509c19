"""Dask distributed: a LocalCluster, one worker process a core, threads for the slots."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from distributed import Client, LocalCluster, worker_client

from benchmarks.peers.programs.peer import Fly, Peer, cut, joined
from benchmarks.peers.programs.serve import serve

CORES = os.cpu_count() or 1


def noop(value):
    return value


def batch(values):
    return list(values)


def nap(seconds):
    time.sleep(seconds)
    return seconds


def echo(data):
    return data


def total(count):
    with worker_client() as client:
        return sum(client.gather(client.map(noop, range(count), pure=False)))


class Dask(Peer):
    """`submit`, `map` and `gather` of the client. The scheduler lives in the client's process."""

    client_is_part = True

    def __init__(self) -> None:
        self._held = ExitStack()

    def start(self, slots: int) -> None:
        self._cluster = self._held.enter_context(
            LocalCluster(
                n_workers=CORES,
                threads_per_worker=max(1, slots // CORES),
                host="127.0.0.1",
                dashboard_address=None,
                local_directory=os.environ["PEERS_FOLDER"],
            )
        )
        self._client = self._held.enter_context(Client(self._cluster))

    def stop(self) -> None:
        self._held.close()

    def call(self, value: int) -> int:
        return self._client.submit(noop, value, pure=False).result()

    def map(self, values: Sequence[int]) -> list[int]:
        return self._client.gather(self._client.map(noop, values, pure=False))

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        parts = self._client.map(batch, list(cut(values, size)), pure=False)
        return joined(self._client.gather(parts))

    def naps(self, count: int, seconds: float) -> list[float]:
        naps = self._client.map(nap, [seconds] * count, pure=False)
        return self._client.gather(naps)

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        def all_at_once(values: Sequence[int]) -> list[int]:
            return self._client.gather([self._client.submit(noop, value, pure=False) for value in values])

        yield all_at_once

    def nested(self, count: int) -> int:
        return self._client.submit(total, count, pure=False).result()

    def echo(self, data: bytes) -> bytes:
        # Large arguments are scattered first, and passed as futures. Without the hash, or the release of the last one
        # may overtake this one, which would have the same name.
        sent = self._client.scatter(data, hash=False)
        return self._client.submit(echo, sent, pure=False).result()

    def before_cold(self) -> None:
        """Scale down to no worker at all."""
        self._cluster.scale(0)
        end = time.monotonic() + 30
        while self._cluster.scheduler.workers:
            if time.monotonic() > end:
                raise TimeoutError("the workers of Dask did not go within 30 s")
            time.sleep(0.01)

    def cold(self, number: int) -> int:
        future = self._client.submit(noop, number, pure=False)
        self._cluster.scale(1)
        return future.result()


if __name__ == "__main__":
    serve(Dask())
