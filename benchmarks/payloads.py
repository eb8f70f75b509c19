"""Large values: there and back."""

import os
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, percentile
from benchmarks.workloads import app, echo

SIZE = 100 * 10**6


def large() -> Iterator[Figure]:
    """100 MB of bytes as an argument, and back as a result."""
    data = os.urandom(SIZE)
    with app.run():
        echo.remote(b"")
        times = []
        for _ in range(6):
            began = time.perf_counter()
            back = echo.remote(data)
            times.append(time.perf_counter() - began)
            if back != data:
                raise AssertionError("other bytes came back than were sent")
            del back
    yield Figure(
        name="100 MB there and back",
        value=percentile(times[1:], 50) * 1e3,
        unit="ms",
        least=600,
        aim=150,
        detail=f"median of 5, {2 * SIZE / percentile(times[1:], 50) / 1e9:.1f} GB/s; first {times[0] * 1e3:.0f} ms",
    )
