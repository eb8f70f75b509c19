"""Who started the supervisor: told how the start goes, and watched, because an owned platform ends with its owner."""

import json
import os
from collections.abc import Callable
from typing import Any

from afield_platform.options import Options
from afield_platform.reactor import Reactor


class Launcher:
    """The process that launched this one, as far as the options name it."""

    def __init__(self, options: Options, reactor: Reactor, on_gone: Callable[[], None]) -> None:
        self._ready_fd = options.ready_fd
        self._reactor = reactor
        self._on_gone = on_gone
        if options.owner_fd is not None:
            self._watch(options.owner_fd)
        if options.owner_pid is not None:
            # A forked child of the owner may hold the pipe open for long: the owner itself is what counts.
            try:
                self._watch(os.pidfd_open(options.owner_pid))
            except ProcessLookupError:
                reactor.call_later(0, on_gone)

    def tell(self, news: dict[str, Any]) -> None:
        """Tell how it goes: `{"progress": words}`, and in the end `{"ready": record}` or `{"failed": words}`."""
        if self._ready_fd is None:
            return
        try:
            os.write(self._ready_fd, json.dumps(news).encode() + b"\n")
        except BrokenPipeError:
            self._ready_fd = None  # it has heard what it wanted, or is gone: its other pipe tells that

    def _watch(self, fd: int) -> None:
        def ended() -> None:
            self._reactor.forget(fd)
            self._on_gone()

        self._reactor.on_readable(fd, ended)
