"""All processes of a peer: what they use, and that none is left."""

import os
import time
from collections.abc import Iterable, Sequence
from typing import Final

import psutil

KILL_S: Final = 10.0


def below(pid: int) -> list[psutil.Process]:
    """Return the processes that descend from one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_all_below() -> int:
    """Kill every descendant of this process, wait until all are gone, and return how many there were.

    This process must be a subreaper, so that orphans are its children too. Raises RuntimeError, naming them, when some
    live on after KILL_S.
    """
    killed: set[int] = set()
    end = time.monotonic() + KILL_S
    while left := _living(below(os.getpid())):
        if time.monotonic() > end:
            names = ", ".join(f"{process.pid} {_name(process)}" for process in left)
            raise RuntimeError(f"processes of a peer outlived being killed: {names}")
        for process in left:
            killed.add(process.pid)
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass  # it went by itself
        psutil.wait_procs(left, timeout=0.2)
        _reap()
    _reap()
    return len(killed)


def memory(processes: Iterable[psutil.Process]) -> float:
    """Return the proportional set size of processes in bytes: a page that some share counts once."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            pass  # a helper that has just ended uses nothing
    return float(total)


def processor(processes: Sequence[psutil.Process], seconds: float) -> float:
    """Watch processes for so long, and return which part of one core they used."""
    before, began = _cpu(processes), time.monotonic()
    time.sleep(seconds)
    after = _cpu(processes)
    used = sum(after[pid] - spent for pid, spent in before.items() if pid in after)
    return used / (time.monotonic() - began)


def _cpu(processes: Sequence[psutil.Process]) -> dict[int, float]:
    found = {}
    for process in processes:
        try:
            found[process.pid] = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            pass
    return found


def _living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _status(process) not in ("", psutil.STATUS_ZOMBIE)]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return ""


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "(gone)"


def _reap() -> None:
    """Take the exit statuses of orphans, which were left to this process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass  # there are no children
