"""Figures for Prometheus: of the gateway's own requests, and of the fleet as the scheduler sees it."""

from collections import Counter as Tally
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from afield._wire.api import FleetStats
from afield._wire.codec import build
from afield._wire.functions import WorkerRecord

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)


class Metrics:
    """The figures of one gateway, in a registry of their own: several gateways in one process do not mix."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "afield_gateway_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "afield_gateway_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = self._gauge("afield_gateway_requests_in_flight", "Requests that run now.")
        self._scheduler_up = self._gauge("afield_scheduler_up", "1 when the scheduler answered this time.")
        self._unplaced = self._gauge(
            "afield_functions_unplaced", "Functions that no container can be started for."
        )
        self._workers = self._gauge("afield_workers", "Workers that are alive.", "state")
        self._cpus = self._gauge("afield_worker_cpus", "Cores that a worker offers.", "worker_id")
        self._memory = self._gauge("afield_worker_memory_bytes", "Memory that a worker offers.", "worker_id")
        self._containers = self._gauge("afield_containers", "Containers.", "function_id", "state")
        self._busy = self._gauge("afield_busy_packs", "Packs that containers run or hold.", "function_id")
        self._backlog = self._gauge("afield_backlog_packs", "Packs that wait for a container.", "function_id")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def set_fleet(self, stats: FleetStats | None) -> None:
        """Take over the scheduler's figures; None when it did not answer, and then there are none."""
        for gauge in (self._workers, self._cpus, self._memory, self._containers, self._busy, self._backlog):
            gauge.clear()
        self._scheduler_up.set(0 if stats is None else 1)
        self._unplaced.set(len(stats.waiting) if stats else 0)
        if stats is None:
            return
        for function_id, packs in stats.backlog.items():
            self._backlog.labels(function_id).set(packs)
        self._set_workers([build(WorkerRecord, values) for values in stats.workers])

    def _set_workers(self, workers: list[WorkerRecord]) -> None:
        self._workers.labels("active").set(sum(not worker.draining for worker in workers))
        self._workers.labels("draining").set(sum(worker.draining for worker in workers))
        containers: Tally[tuple[str, str]] = Tally()
        busy: Tally[str] = Tally()
        for worker in workers:
            self._cpus.labels(worker.worker_id).set(worker.cpus)
            self._memory.labels(worker.worker_id).set(worker.memory_mib * 2**20)
            for each in worker.containers:
                containers[each.function_id, each.state] += 1
                busy[each.function_id] += each.busy
        for (function_id, state), count in containers.items():
            self._containers.labels(function_id, state).set(count)
        for function_id, packs in busy.items():
            self._busy.labels(function_id).set(packs)

    def render(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self.registry)
