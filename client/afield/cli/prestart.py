"""The platform of a run: started while the user's code is imported, watched while it runs, gone when the run ends."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from afield import embedded
from afield.cli import interrupts
from afield.cli.errors import FailureError, WrongUseError
from afield.embedded import Platform
from afield.exception import Error, InvalidError

_LOOK_S = 60.0
_DIED = "the platform died while the run used it"
_BEGIN_S = 5.0
"""Seconds that a thread may take to begin."""
_LAST_WORDS_S = 3.0
"""Seconds that the run has to end after its platform died."""


class Prestart:
    """A hold on a platform, got in the background."""

    def __init__(self) -> None:
        self._hold: Platform | None = None
        self._error: Exception | None = None
        self._over = threading.Event()
        self.lost = False
        """Whether the platform died under the run."""
        self._getter = threading.Thread(target=self._get, name="afield-prestart", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="afield-watch", daemon=True)

    def start(self) -> None:
        """Begin to get a platform."""
        self._getter.start()

    def wait(self) -> Platform:
        """Return the hold. Raises FailureError or WrongUseError, with the reason, when there is none to be had."""
        self._getter.join()
        if isinstance(self._error, InvalidError):
            raise WrongUseError(str(self._error)) from self._error
        if isinstance(self._error, (Error, OSError)):
            raise FailureError(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        assert self._hold is not None
        if not self._watcher.is_alive():
            self._watcher.start()
        return self._hold

    def close(self) -> None:
        """Let go of the platform; blocks until nothing of a private one is left."""
        self._over.set()
        end = time.monotonic() + _BEGIN_S
        # An interrupt may have come while it began.
        while self._getter.ident is None and self._getter in threading.enumerate() and time.monotonic() < end:
            time.sleep(0.001)
        if self._getter.ident is not None:
            self._getter.join()
        if self._hold is not None:
            self._hold.release()

    def _get(self) -> None:
        try:
            self._hold = embedded.acquire()
        except Exception as error:  # it is raised again on the main thread
            self._error = error

    def _watch(self) -> None:
        assert self._hold is not None
        while not self._over.is_set():
            if not self._hold.wait_lost(_LOOK_S) or self._over.is_set():
                continue
            self.lost = True
            self._hold.sweep()
            interrupts.end()  # ends the main thread's work, whatever it waits for
            if not self._over.wait(_LAST_WORDS_S):
                os.write(2, f"Error: {_DIED}\n".encode())
                os._exit(1)
            return


@contextmanager
def prestarted() -> Iterator[Prestart]:
    """Get a platform in the background; it is let go of when the block ends."""
    platform = Prestart()
    try:
        platform.start()
        yield platform
    except KeyboardInterrupt as interrupt:
        if platform.lost:
            raise FailureError(_DIED) from interrupt
        raise
    finally:
        interrupts.hold()
        platform.close()
    if platform.lost:  # while the run cleaned up
        raise FailureError(_DIED)
