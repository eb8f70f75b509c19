"""`afield status`: what runs, and where."""

import json
import time
from collections.abc import Iterator
from typing import Any

import anyio
import click

from afield import _launch
from afield._launch import PlatformFolder

_ASK_S = 3.0
"""Seconds that the fleet may take to answer."""


@click.command("status", short_help="Show what runs.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(*, as_json: bool) -> None:
    """Show every process of this user's platforms: role, process id, address, uptime. Exit status 1 when none runs."""
    platforms = list(_platforms())
    if as_json:
        click.echo(json.dumps(_document(platforms), indent=2))
    else:
        _print(platforms)
    if not platforms:
        raise SystemExit(1)


def _document(platforms: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "running": bool(platforms),
        "processes": [process for platform in platforms for process in platform["processes"]],
        "platforms": [
            {key: value for key, value in platform.items() if key != "processes"} for platform in platforms
        ],
    }


def _platforms() -> Iterator[dict[str, Any]]:
    """Yield this user's running platform and the private ones of runs, each with its processes."""
    for folder in (_launch.shared_folder(), *_launch.private_folders()):
        record = _record(folder)
        if record is None:
            continue
        now = time.time()
        containers, problem = _containers(record) if record["state"] == "ready" else ([], "")
        yield {
            "id": record["id"],
            "private": record["private"],
            "state": record["state"],
            "server": record.get("server", ""),
            "gateway": record.get("gateway", ""),
            "folder": record["folder"],
            "uptime_s": _uptime(now, record["started_at"]),
            "problem": problem,
            "processes": [
                {**_shown(process, now), "platform": record["id"]}
                for process in (*record["processes"], *containers)
            ],
        }


def _record(folder: PlatformFolder) -> dict[str, Any] | None:
    return folder.record() if folder.root.exists() and folder.alive() else None


def _shown(process: dict[str, Any], now: float) -> dict[str, Any]:
    """A process that is waiting to be started again has the process id 0 and no uptime."""
    return {
        "role": process["role"],
        "pid": process["pid"],
        "address": process["address"],
        "uptime_s": _uptime(now, process["started_at"]) if process["pid"] else 0.0,
        **{
            key: process[key]
            for key in ("restarts", "id", "state", "function_id", "app_id")
            if key in process
        },
    }


def _uptime(now: float, started_at: float) -> float:
    return round(max(0.0, now - started_at), 1)


def _containers(record: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the containers as the scheduler knows them, and why they are not known if they are not."""
    try:
        return anyio.run(_ask_fleet, record), ""
    except Exception as error:  # whatever is wrong with the fleet, the processes are worth showing
        return [], f"the fleet did not answer: {error}"


async def _ask_fleet(record: dict[str, Any]) -> list[dict[str, Any]]:
    from afield._bus.connection import Bus, BusAddress
    from afield._wire.api import FLEET_STATS, StatsRequest
    from afield._wire.codec import build
    from afield._wire.functions import WorkerRecord

    user, _, password = record["token"].partition(":")
    with anyio.fail_after(_ASK_S):
        address = BusAddress(record["server"], user, password)
        async with Bus.open(address, name="afield-status", connect_timeout=_ASK_S) as bus:
            stats = await bus.call(FLEET_STATS, StatsRequest(), timeout=_ASK_S)
    return [
        {
            "role": "container",
            "pid": container.pid,
            "address": worker.worker_id,
            "started_at": container.started_at,
            "id": container.container_id,
            "state": container.state,
            "function_id": container.function_id,
            "app_id": container.app_id,
        }
        for worker in (build(WorkerRecord, values) for values in stats.workers)
        for container in worker.containers
    ]


def _print(platforms: list[dict[str, Any]]) -> None:
    if not platforms:
        click.echo(
            "No platform of yours is running; `afield up` starts one, `afield run` uses one of its own."
        )
    for platform in platforms:
        kind = "private platform of a run" if platform["private"] else "platform"
        click.echo(f"{kind} {platform['id']}: {platform['state']}, up for {_duration(platform['uptime_s'])}")
        rows = [("ROLE", "PID", "UPTIME", "ADDRESS")] + [
            (p["role"], str(p["pid"] or "-"), _duration(p["uptime_s"]), " ".join(_where(p)))
            for p in platform["processes"]
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
            click.echo(("  " + "  ".join(cells)).rstrip())
        if platform["problem"]:
            click.echo(f"  {platform['problem']}")


def _where(process: dict[str, Any]) -> Iterator[str]:
    yield process["address"]
    if process["role"] == "container":
        yield f"{process['id']} ({process['state']}, {process['function_id']})"
    if process.get("restarts"):
        yield f"(restarted {process['restarts']} times)"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{seconds:.1f}s"
