"""What a supervisor is told on its command line."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from afield._marks import MARK


class Options(NamedTuple):
    """One platform on this host."""

    id: str
    folder: Path
    lock_fd: int
    """Open on the folder's lock, which is held as long as it stays open."""
    private: bool = False
    """The folder goes with the platform, and nothing is waited for when it stops."""
    separate: bool = False
    """Each service in a process of its own."""
    foreground: bool = False
    """Tell a person at a terminal what goes on."""
    cache: Path | None = None
    """Folder for unpacked source; by default in the platform's folder."""
    environment: str = "main"
    owner_fd: int | None = None
    """Reading end of a pipe; its end of file stops the platform."""
    owner_pid: int | None = None
    """Process whose end stops the platform."""
    ready_fd: int | None = None
    """Where to tell progress, readiness or failure, as JSON lines."""
    shards: int = 1


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line, and the platform's id from the mark in the environment. Exits with status 2 on nonsense."""
    parser = argparse.ArgumentParser(
        prog="python -m afield_platform",
        description="Supervise one platform on this host. Started by `afield run` and `afield up`.",
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--separate", action="store_true")
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--environment", default="main")
    parser.add_argument("--owner-fd", type=int)
    parser.add_argument("--owner-pid", type=int)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--shards", type=int, default=1)
    platform_id = os.environ.get(MARK, "")
    if not platform_id:
        parser.error(f"the variable {MARK} must hold the platform's id; start a platform with `afield up`")
    return Options(id=platform_id, **vars(parser.parse_args(argv)))
