"""A platform to measure: started for the benchmarks alone, in a folder of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from afield import embedded

AFIELD = [sys.executable, "-m", "afield.cli"]


@contextmanager
def fresh_home() -> Iterator[Path]:
    """Point AFIELD_HOME at an empty folder, so that no platform is found there."""
    before = os.environ.get("AFIELD_HOME")
    with tempfile.TemporaryDirectory(prefix="afield-bench-") as folder:
        os.environ["AFIELD_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["AFIELD_HOME"]
            else:
                os.environ["AFIELD_HOME"] = before


@contextmanager
def running_platform() -> Iterator[dict[str, Any]]:
    """Run a platform for the block, and yield its record; `app.run()` in the block uses it."""
    before = signal.signal(signal.SIGTERM, _terminated)
    with fresh_home():
        subprocess.run([*AFIELD, "up", "--detach"], check=True, stdout=subprocess.DEVNULL)
        try:
            record = embedded.find_running()
            if record is None:
                raise RuntimeError("`afield up --detach` said that a platform runs, but there is none")
            yield record
        finally:
            subprocess.run([*AFIELD, "down"], check=True, stdout=subprocess.DEVNULL)
            signal.signal(signal.SIGTERM, before)


def _terminated(signum: int, _: object) -> None:
    """End in order: the platform belongs to this process alone."""
    raise SystemExit(128 + signum)


def processes(record: dict[str, Any]) -> list[psutil.Process]:
    """Return every process of a platform: the supervisor and all that descend from it."""
    supervisor = psutil.Process(record["pid"])
    return [supervisor, *supervisor.children(recursive=True)]
