"""The record of a platform (`platform.json`): what runs, and how to reach it."""

import os
from typing import Any

from afield_platform.fleet import Fleet
from afield_platform.ground import Ground
from afield_platform.options import Options
from afield_platform.paths import Paths


def make_record(
    options: Options, state: str, started_at: float, ground: Ground | None, fleet: Fleet | None
) -> dict[str, Any]:
    """Return the record. Until there is a `ground` and a `fleet`, it says no more than who is starting."""
    record: dict[str, Any] = {
        "version": 1,
        "id": options.id,
        "pid": os.getpid(),
        "state": state,
        "private": options.private,
        "started_at": started_at,
        "folder": str(options.folder),
        "environment": options.environment,
        "processes": [_process("supervisor", os.getpid(), "", started_at, 0)],
    }
    if ground is not None:
        record |= {
            "server": ground.server,
            "token": f"client:{ground.secrets['client']}",
            "operator": f"operator:{ground.secrets['operator']}",
            "gateway": f"http://127.0.0.1:{ground.ports['gateway']}",
            "gateway_token": ground.secrets["http"],
            "blob_dir": str(Paths(options.folder).blobs),
            "host": ground.host,
        }
    if fleet is not None:
        record["processes"] += [
            _process(
                role, child.pid, child.addresses.get(role, ""), child.started_at, max(0, child.starts - 1)
            )
            for child in fleet.children
            for role in child.roles
        ]
    return record


def _process(role: str, pid: int, address: str, started_at: float, restarts: int) -> dict[str, Any]:
    return {"role": role, "pid": pid, "address": address, "started_at": started_at, "restarts": restarts}
