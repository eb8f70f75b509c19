"""One template process, as its worker holds it."""

import os
from collections.abc import Callable

from afield._wire.guest import Exited
from afield_worker.runners.base import RunnerError, describe_end
from afield_worker.runners.forkserver import ForkServer
from afield_worker.runners.spawn import spawn


class TemplateProcess(ForkServer):
    """A child process of this worker that forks containers. Make it on the event loop's own thread.

    `on_exited` is called when a container of it ended, `on_ended` once, when the template itself is gone: then
    its containers are dead or dying, and `end` says how it ended.
    """

    def __init__(
        self,
        python: str,
        on_exited: Callable[[Exited], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._on_ended = on_ended
        try:
            self._process, control, self.mark = spawn(python)
        except OSError as error:
            raise RunnerError(f"could not start {python!r} for the template process: {error}") from error
        # When it closes its socket it is dead, or of no use any more.
        super().__init__("the template process", control, on_exited, self._process.kill)
        # Not a child watcher of the loop: those come with threads, or forget processes of other loops.
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_death)

    @property
    def pid(self) -> int:
        return self._process.pid

    def destroy(self) -> None:
        """Kill it; `on_ended` follows."""
        if not self.end:
            self._process.kill()

    def _on_death(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()
        self.ended(describe_end(None, -status) if status < 0 else describe_end(status, None))
        self._on_ended()
