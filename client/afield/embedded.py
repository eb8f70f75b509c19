"""The platform that this process works with: a configured one, this user's running one, or one of its own."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from afield import _launch, _marks, config
from afield._launch import Launched, PlatformError, PlatformFolder, Progress

__all__ = ["Platform", "PlatformAddress", "PlatformError", "acquire", "find_running"]

_LOOK_EVERY: Final = 0.02
"""Seconds between looks at another process's files, which give no event to wait for."""


class PlatformAddress(NamedTuple):
    """How to reach a platform."""

    server: str
    """`nats://127.0.0.1:4222`"""
    token: str
    """`<user>:<secret>`"""
    gateway: str
    """`http://127.0.0.1:8000`, or empty."""
    blob_dir: str
    """Folder for large payloads that the workers share, or empty when they are on other hosts."""
    host: str
    """Id of the host that shares `blob_dir`, or empty."""
    private: bool
    """Whether the platform was started for this process alone."""


class Platform:
    """A hold on a platform. Release it when done; a private platform stops with its last hold."""

    def __init__(
        self,
        address: PlatformAddress,
        *,
        pid: int = 0,
        folder: PlatformFolder | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.pid = pid
        """The supervisor's process id, or 0 for a platform that is not of this host."""
        self._folder = folder
        self._release = release

    def release(self) -> None:
        """Let go. Blocks until nothing of a private platform is left; calling it again does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def wait_lost(self, timeout: float) -> bool:
        """Wait until the platform's supervisor has died; tell whether it has. Never, for one of another host."""
        if not self.pid:
            time.sleep(timeout)
            return False
        return _marks.wait_exit(self.pid, timeout)

    def sweep(self) -> None:
        """Clear away what a platform of this host left over that has died, whoever else holds on to it."""
        if self._folder is not None:
            _launch.sweep(self._folder)

    def __enter__(self) -> Self:
        """Return the hold itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()


def acquire(*, on_progress: Progress | None = None) -> Platform:
    """Return a hold on the platform to work with. Blocking; takes about a second when one must be started.

    The first that there is: the configured server (`AFIELD_SERVER` and `AFIELD_TOKEN`), this user's running platform
    (`afield up`), a private one, started for this process and gone with it. `on_progress` is told in a few words
    what is being waited for.

    Raises InvalidError for a configuration that makes no sense, PlatformError when a platform cannot be started.
    """
    configured = config.server()
    if configured is not None:
        return Platform(PlatformAddress(*configured, private=False))
    record = find_running(on_progress=on_progress)
    if record is not None:
        return Platform(_address(record), pid=record["pid"], folder=_launch.shared_folder())
    own = _own.setdefault(config.state_dir(), _Own())
    launched = own.hold(on_progress)
    return Platform(
        _address(launched.record), pid=launched.process.pid, folder=launched.folder, release=own.let_go
    )


def find_running(
    *, timeout: float = _launch.START_TIMEOUT, on_progress: Progress | None = None
) -> dict[str, Any] | None:
    """Return the record of this user's running platform, or None; one that is starting is waited for.

    Raises PlatformError when it does not become ready within `timeout` seconds.
    """
    return _ready_record(_launch.shared_folder(), timeout, on_progress)


def _ready_record(
    folder: PlatformFolder, timeout: float, on_progress: Progress | None
) -> dict[str, Any] | None:
    end = time.monotonic() + timeout
    told = False
    while folder.alive():
        record = folder.record()
        if record is not None and record["state"] == "ready":
            return record
        if on_progress is not None and not told:
            on_progress("waiting for the platform that is starting")
            told = True
        if time.monotonic() > end:
            raise PlatformError(
                f"the platform in {folder.root} was not ready after {timeout:g} s; try `afield down`"
            )
        time.sleep(_LOOK_EVERY)
    return None


def _address(record: dict[str, Any]) -> PlatformAddress:
    return PlatformAddress(
        record["server"],
        record["token"],
        record["gateway"],
        record["blob_dir"],
        record["host"],
        bool(record["private"]),
    )


class _Own:
    """The private platform of this process in one state folder, shared by all its holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._launched: Launched | None = None
        self._holds = 0

    def hold(self, on_progress: Progress | None) -> Launched:
        with self._lock:
            if self._launched is None or self._launched.process.poll() is not None:
                self._launched = self._start(on_progress)
                self._holds = 0
            self._holds += 1
            return self._launched

    def let_go(self) -> None:
        with self._lock:
            self._holds -= 1
            if self._holds or self._launched is None:
                return
            launched, self._launched = self._launched, None
            launched.stop()

    def _start(self, on_progress: Progress | None) -> Launched:
        folder = _launch.new_private_folder()
        sweeper = threading.Thread(target=_launch.sweep_private, name="afield-sweep")
        sweeper.start()  # beside the start, not before it
        try:
            launched = _launch.launch(folder, owned=True, arguments=("--private",), on_progress=on_progress)
        finally:
            sweeper.join()
        if launched is None:
            raise PlatformError(f"somebody else holds the new folder {folder.root}")
        return launched

    def forked(self) -> None:
        """Forget the platform: the process is a fork of the one that holds it."""
        # A child that lives on must not keep its parent's platform alive, nor stop it.
        self._lock = threading.Lock()
        launched, self._launched, self._holds = self._launched, None, 0
        if launched is not None:
            launched.disown()


_own: Final[dict[Path, _Own]] = {}
"""By the state folder, which a program can change (AFIELD_HOME)."""


def _after_fork() -> None:
    for own in _own.values():
        own.forked()


os.register_at_fork(after_in_child=_after_fork)
