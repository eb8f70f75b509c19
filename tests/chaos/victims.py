"""Finding the processes of a target, and doing something to them."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable

import anyio
import anyio.to_thread

from afield._bus.connection import Bus
from afield._bus.direct import get_last
from afield._bus.errors import BusError
from afield._bus.kv import Bucket
from afield._wire.codec import WireError, decode
from afield._wire.functions import WorkerRecord
from chaos.cluster_up import nodes
from chaos.evidence import Applied
from chaos.plan import Strike, Target
from chaos.platform import Platform

FIND_S = 5.0
"""Seconds for which a target that is not there at the moment (it was killed just now) is waited for."""


async def strike(platform: Platform, bus: Bus, planned: Strike, on_done: Callable[[Applied], None]) -> None:
    """Carry a strike out, and report it, also one that is cut short; nothing is done where there is nobody to strike."""
    if planned.action == "step":
        began = time.monotonic()
        platform.set_clock(planned.hold)
        on_done(Applied(planned, frozenset(), began, time.monotonic()))
        return
    pid = await _victim(platform, bus, planned)
    if pid is None:
        return
    began = time.monotonic()
    try:
        if planned.action == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGSTOP)
            try:
                await anyio.sleep(planned.hold)
            finally:
                os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # it ended by itself
    finally:
        on_done(Applied(planned, frozenset({pid}), began, time.monotonic()))


async def _victim(platform: Platform, bus: Bus, planned: Strike) -> int | None:
    with anyio.move_on_after(FIND_S):
        while True:
            found = await candidates(platform, bus, planned.target)
            if found:
                return found[int(planned.choice * len(found))]
            await anyio.sleep(0.1)
    return None


async def candidates(platform: Platform, bus: Bus, target: Target) -> list[int]:
    """Return the processes that a strike on `target` may hit."""
    if target == "container":
        return await _containers(bus)
    if target == "scheduler":
        return await _leader(platform, bus)
    if target == "meta-leader":
        return await anyio.to_thread.run_sync(_meta_leader, platform)
    return platform.pids(target)


async def _containers(bus: Bus) -> list[int]:
    """Those that are ready, the busy ones if there are any."""
    try:
        entries = await Bucket(bus, "WORKERS", timeout=2.0).snapshot()
        records = [decode(WorkerRecord, entry.data) for entry in entries]
    except (BusError, WireError):
        return []
    ready = [c for record in records for c in record.containers if c.state == "ready" and c.pid]
    busy = [c.pid for c in ready if c.busy]
    return sorted(busy or [c.pid for c in ready])


async def _leader(platform: Platform, bus: Bus) -> list[int]:
    try:
        lease = await get_last(bus, "KV_LEASE", "$KV.LEASE.scheduler", timeout=2.0)
    except BusError:
        return []
    if lease is None:
        return []
    pid = platform.leaders().get(lease.data.decode())
    return [pid] if pid else []


def _meta_leader(platform: Platform) -> list[int]:
    """The server that leads the cluster, by the word of any that answers."""
    running = platform.nodes()
    for config in nodes(platform.folder.root):
        try:
            with urllib.request.urlopen(f"http://{config['http']}/jsz", timeout=1.0) as reply:
                leader = json.load(reply)["meta_cluster"].get("leader")
        except (OSError, ValueError, KeyError):
            continue
        if leader in running:
            return [running[leader]]
    return []
