"""Names of those who hold the lead. A name says which process that is, so its successor can tell that it is dead.

A supervisor restarts a scheduler that was killed within a moment; it need not wait for the lease of a process that is no
more. That is certain only for a process of the same platform, on the same kernel, with the same view of process ids.
"""

import os
from pathlib import Path
from typing import Final

from afield import _marks
from afield._wire.ids import random_body

_SEPARATOR: Final = "/"
_START_TIME: Final = 19
"""The 22nd field of /proc/<pid>/stat, counted behind the name of the command, which may hold blanks."""


def holder_name() -> str:
    """Return a fresh name: `scheduler-<random>`, and where it can be told, `/<place>/<pid>/<start time>`."""
    name, place, pid = f"scheduler-{random_body()}", _place(), os.getpid()
    started = _started(pid)
    return _SEPARATOR.join((name, place, str(pid), started)) if place and started else name


def is_dead(holder: str) -> bool:
    """Tell whether it is certain that a holder is no more: its process was of this place, and is not there."""
    _, _, proof = holder.partition(_SEPARATOR)
    place, _, rest = proof.partition(_SEPARATOR)
    pid, _, started = rest.partition(_SEPARATOR)
    if not (pid.isdecimal() and started) or place != _place():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(pid)) not in ("", started)  # somebody else may have the number now


def _place() -> str:
    """Return what processes have in common that see each other under the same ids; empty where there is no telling."""
    platform = os.environ.get(_marks.MARK, "")
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return f"{platform}:{boot}:{namespace}" if platform else ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the kernel did; empty if that is not to be seen."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[_START_TIME]
