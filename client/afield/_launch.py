"""The folder of a platform on this host: who holds it, starting a supervisor on it, sweeping it.

A platform is alive while its supervisor holds an exclusive flock on `<folder>/lock`; the kernel drops it however the
process ends. Whoever looks at or takes such a lock holds the state folder's own lock meanwhile, so that a look is
never mistaken for a platform, and a folder just made is never mistaken for a stale one.

`<state>/platform/`          the user's running platform (`afield up`)
`<state>/private/<id>/`      platforms of single runs, removed when they end
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import POLLIN, poll
from typing import Any, Final, NamedTuple

from afield import _marks, config
from afield._stdio import open_standard_streams
from afield._wire.ids import random_body
from afield.exception import InternalFailure

START_TIMEOUT: Final = 60.0
"""Seconds that a platform may take to become ready; it takes one when all is well."""

Progress = Callable[[str], None]


class PlatformError(InternalFailure):
    """The platform on this host could not be started, or has died."""


class PlatformFolder(NamedTuple):
    """One platform's folder."""

    root: Path

    @property
    def private(self) -> bool:
        """Whether the folder is of a private platform."""
        return self.root.parent.name == "private"

    def alive(self) -> bool:
        """Tell whether a supervisor holds the folder."""
        if not self.root.exists():
            return False
        with _mutex():
            if not self.root.exists():  # removed meanwhile
                return False
            fd = self._lock()
            if fd is None:
                return True
            os.close(fd)
            return False

    def claim(self) -> int | None:
        """Take the folder, making it if need be; return the descriptor that holds it, or None if somebody else does."""
        open_standard_streams()
        config.make_private(self.root.parent)
        with _mutex():
            config.make_private(self.root)
            return self._lock()

    def record(self) -> dict[str, Any] | None:
        """Return what the supervisor last wrote about its platform, or None before it has written anything."""
        try:
            data = (self.root / "platform.json").read_bytes()
        except FileNotFoundError:
            return None
        found: dict[str, Any] = json.loads(data)
        return found

    def remove(self) -> None:
        """Remove the folder; for whoever holds it. Raises OSError when something cannot be removed."""
        for entry in os.scandir(self.root):
            if entry.name == "lock":
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        with _mutex():  # without it, somebody could make and take another lock before the folder is gone
            os.unlink(self.root / "lock")
            os.rmdir(self.root)

    def _lock(self) -> int | None:
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd


def shared_folder() -> PlatformFolder:
    """Return the folder of this user's running platform."""
    return PlatformFolder(config.state_dir() / "platform")


def private_folders() -> list[PlatformFolder]:
    """Return the folders of all private platforms of this user, alive or not."""
    root = config.state_dir() / "private"
    return [PlatformFolder(root / name) for name in sorted(os.listdir(root))] if root.is_dir() else []


def new_private_folder() -> PlatformFolder:
    """Return a fresh folder for a private platform; its name is the platform's id."""
    return PlatformFolder(config.state_dir() / "private" / random_body(60 // 8 * 8))


def supervisor_command(folder: PlatformFolder, lock_fd: int, *arguments: str) -> list[str]:
    """Return the command line of a supervisor on a folder whose lock is held by `lock_fd`."""
    # -P: a file of the user's working folder must not stand in for a module of ours.
    here = [sys.executable, "-P", "-m", "afield_platform"]
    return [*here, "--folder", str(folder.root), "--lock-fd", str(lock_fd), *arguments]


def new_mark(folder: PlatformFolder) -> dict[str, str]:
    """Return this environment with the mark of a platform on `folder`."""
    return {**os.environ, _marks.MARK: platform_id(folder)}


def platform_id(folder: PlatformFolder) -> str:
    """Return the id of the platform on a folder. It depends on the folder alone.

    So what a killed supervisor left over is found by the next one on its folder.
    """
    if folder.private:
        return folder.root.name
    return "shared-" + hashlib.sha256(str(folder.root.resolve()).encode()).hexdigest()[:12]


class Launched:
    """A supervisor started by this process. `record` is what it says of its platform."""

    def __init__(
        self, folder: PlatformFolder, process: "subprocess.Popen[bytes]", owner_fd: int | None
    ) -> None:
        self.folder = folder
        self.process = process
        self.record: dict[str, Any] = {}
        self._owner_fd = owner_fd

    def disown(self) -> None:
        """Forget, in a forked child, the pipe that keeps the platform alive."""
        if self._owner_fd is not None:
            os.close(self._owner_fd)
            self._owner_fd = None

    def stop(self, timeout: float = 60.0) -> None:
        """Stop the platform and wait until nothing of it is left. Raises PlatformError when something is."""
        self.disown()
        try:
            if self.process.poll() is None and not _marks.wait_exit(self.process.pid, timeout):
                self.process.kill()
            self.process.wait(timeout=5)
        finally:
            sweep(self.folder)


def launch(
    folder: PlatformFolder,
    *,
    owned: bool,
    arguments: tuple[str, ...] = (),
    on_progress: Progress | None = None,
    timeout: float = START_TIMEOUT,
) -> Launched | None:
    """Start a supervisor on `folder` and wait until its platform is ready; None if somebody else holds the folder.

    An `owned` platform is stopped when this process ends or calls `stop`. Raises PlatformError, with the reason in
    one message, when the platform does not become ready within `timeout` seconds; nothing is left of it then.
    """
    lock_fd = folder.claim()
    if lock_fd is None:
        return None
    clear(folder)
    ready_r, ready_w = os.pipe()
    owner_r, owner_w = os.pipe() if owned else (None, None)
    inherited = [fd for fd in (lock_fd, ready_w, owner_r) if fd is not None]
    command = supervisor_command(folder, lock_fd, "--ready-fd", str(ready_w), *arguments)
    if owner_r is not None:
        command += ["--owner-fd", str(owner_r), "--owner-pid", str(os.getpid())]
    try:
        with open(folder.root / "supervisor.log", "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=new_mark(folder),
                cwd="/",
                pass_fds=inherited,
                start_new_session=True,
            )
    finally:
        for fd in inherited:
            os.close(fd)
    launched = Launched(folder, process, owner_w)
    try:
        launched.record = _await_ready(launched, ready_r, on_progress, timeout)
    except BaseException:
        _marks.kill(process.pid, signal.SIGTERM)
        launched.stop()
        raise
    finally:
        os.close(ready_r)
    if not owned:
        process.returncode = 0  # it is nobody's child from now on, and not to be waited for
    return launched


def _await_ready(
    launched: Launched, ready_r: int, on_progress: Progress | None, timeout: float
) -> dict[str, Any]:
    for line in _lines(ready_r, time.monotonic() + timeout):
        news = json.loads(line)
        if "ready" in news:
            record: dict[str, Any] = news["ready"]
            return record
        if "failed" in news:
            raise PlatformError(str(news["failed"]))
        if on_progress is not None:
            on_progress(str(news["progress"]))
    if launched.process.poll() is None and not _marks.wait_exit(launched.process.pid, 0.5):
        raise PlatformError(f"the platform was not ready after {timeout:g} s; see {launched.folder.root}")
    code = launched.process.wait(timeout=5)
    if code == 0:
        raise PlatformError("the platform was stopped while it started")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    said = (launched.folder.root / "supervisor.log").read_text(errors="replace").strip()
    raise PlatformError(f"the platform's supervisor ended with {how}; it said:\n{said or '(nothing)'}")


def _lines(fd: int, end: float) -> Iterator[bytes]:
    """Yield the lines that arrive on a pipe until it closes or the time is up."""
    waiter = poll()
    waiter.register(fd, POLLIN)
    pending = b""
    while waiter.poll(max(0.0, end - time.monotonic()) * 1000):
        data = os.read(fd, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from lines


def clear(folder: PlatformFolder) -> None:
    """Remove what a dead predecessor on the folder left over: its record and processes. For whoever holds it."""
    (folder.root / "platform.json").unlink(missing_ok=True)
    if not folder.private:  # a private folder is always a new one
        mark = platform_id(folder)
        _marks.kill_all(lambda: _marks.marked(mark) - {os.getpid()})


def sweep(folder: PlatformFolder) -> bool:
    """Remove what a dead platform left over: its processes, and the folder of a private one.

    Returns False, and does nothing, while a supervisor holds the folder.
    """
    if not folder.root.exists():
        return True
    fd = folder.claim()
    if fd is None:
        return False
    try:
        mark = platform_id(folder)
        _marks.kill_all(lambda: _marks.marked(mark) - {os.getpid()})
        if folder.private:
            folder.remove()
        else:  # what the shared platform stored outlives it
            (folder.root / "platform.json").unlink(missing_ok=True)
    finally:
        os.close(fd)
    return True


def sweep_private() -> None:
    """Sweep every private platform whose supervisor is gone."""
    for folder in private_folders():
        sweep(folder)


@contextmanager
def _mutex() -> Iterator[None]:
    """Hold the state folder's lock. Held for microseconds only: nobody waits or works under it."""
    root = config.make_private(config.state_dir())
    fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
