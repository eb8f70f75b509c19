"""The results of a pack on their way to the worker: those of quick inputs travel together."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from afield._wire.guest import Results
from afield._wire.messages import InputResult

FLUSH_AFTER: Final = 0.002
"""Seconds of quick inputs whose results wait for each other. The worker's idea of which one runs is off by no more."""

FLUSH_BYTES: Final = 1 * 2**20


class Reports:
    """Collects results of one pack after the other; `send` takes a frame.

    One thread runs inputs (`begin`, `add`); `flush` may be called from another at any time.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._token = 0
        self._results: deque[InputResult] = deque()
        self._bytes = 0
        self._since = 0.0

    def begin(self, token: int) -> float:
        """Note that an input of the pack `token` begins, and return the time (monotonic).

        What came before it must not wait for it if it, too, took its time.
        """
        now = time.monotonic()
        if self._results and now - self._since > FLUSH_AFTER:
            self.flush()
        if not self._results:
            self._since = now
        self._token = token
        return now

    def add(self, result: InputResult) -> None:
        """Take the result of the input that began last."""
        self._results.append(result)
        self._bytes += _size(result)
        if self._bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        results: list[InputResult] = []
        while self._results:
            try:
                results.append(self._results.popleft())
            except IndexError:  # the other thread took it
                break
        if results:
            self._bytes = 0
            self._send(Results(token=self._token, results=tuple(results)))


def _size(result: InputResult) -> int:
    size = len(result.value) if isinstance(result.value, bytes) else 0
    if result.error is not None:
        exception = result.error.exception
        size += len(result.error.traceback) + (len(exception) if isinstance(exception, bytes) else 0)
    return size
