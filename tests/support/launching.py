"""Help for tests that start platforms: stand-in services, and looking for what is left of a platform."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from afield import _launch, _marks
from afield._launch import PlatformFolder
from afield_platform import ports

T = TypeVar("T")

TESTS = Path(__file__).parent.parent


def use_fake_services() -> None:
    """Make this process launch the real supervisor with stand-in services."""

    def command(folder: PlatformFolder, lock_fd: int, *arguments: str) -> list[str]:
        own = ["--folder", str(folder.root), "--lock-fd", str(lock_fd)]
        return [sys.executable, "-P", "-m", "support.fake_platform", *own, *arguments]

    _launch.supervisor_command = command


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
    """Return the condition's value once it is true. Fails the test after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout:g} s for {what}"
        time.sleep(0.01)
    return value


def each_of(folder: str, read: Callable[[str], T]) -> list[T]:
    """Return what `read` makes of the entries of a folder in /proc, without those that are gone before it looks."""
    found = []
    for entry in os.listdir(folder):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(read(f"{folder}/{entry}"))
    return found


def pid_of(folder: PlatformFolder, role: str) -> int:
    """Return the process id of a role, 0 while it does not run."""
    record = folder.record()
    assert record is not None
    found: int = next(p["pid"] for p in record["processes"] if p["role"] == role)
    return found


def restarted(folder: PlatformFolder, role: str, old: int) -> int:
    """Wait until a role runs as another process and is ready; return the process id."""

    def look() -> int:
        record = folder.record() or {"processes": []}
        new = next(p for p in record["processes"] if p["role"] == role)
        return new["pid"] if new["pid"] not in (0, old) and new["address"] else 0

    pid: int = wait_for(look, f"a new {role}")
    return pid


def kill9(pid: int) -> None:
    """End a process as a crash would."""
    os.kill(pid, signal.SIGKILL)


def assert_nothing_left(record: dict[str, Any]) -> None:
    """Check that a platform has no process, no port and (a private one) no folder left; the last may take a moment."""
    folder = PlatformFolder(Path(record["folder"]))
    wait_for(lambda: not _marks.marked(record["id"]), "the processes to end")
    wait_for(lambda: not folder.root.exists() or not record["private"], "the folder to go")
    for address in (record["server"], record["gateway"]):
        assert ports.is_free(int(address.rpartition(":")[2])), f"{address} is still taken"
