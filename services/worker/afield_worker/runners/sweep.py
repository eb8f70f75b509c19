"""Finds what a template that was killed left behind, when nobody is there who would know its children."""

import os
from collections.abc import Collection

from afield import _marks
from afield._guest.variables import MARK


def sweep(mark: str, leaders: Collection[int]) -> list[int]:
    """Kill all that descends from a dead template, and wait until it is gone; return the processes killed.

    They carry its mark in their environment, or are in the session of one of its containers (`leaders`).
    Blocks; raises TimeoutError when something does not die.
    """
    return _marks.kill_all(lambda: _find(f"{MARK}={mark}".encode(), leaders))


def _find(mark: bytes, leaders: Collection[int]) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if _is_alive_in(pid, leaders) or mark in _environment(pid)]


def _is_alive_in(pid: int, sessions: Collection[int]) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may hold any character: read from the last one.
            state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
    except OSError:  # gone meanwhile
        return False
    return state != b"Z" and int(session) in sessions


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")  # empty for a zombie
    except OSError:  # gone meanwhile, or another user's
        return []
