"""`afield status`: what runs, and where."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import anyio
import click

from afield import _launch, config
from afield._launch import PlatformFolder
from afield.cli import fleet
from afield.cli.fleet import Fleet

_HEARD_S: Final = 10.0
"""Seconds after its start within which a worker should have been heard of."""


@click.command("status", short_help="Show what runs.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("-e", "--env", help="Environment whose apps to show.  [default: AFIELD_ENVIRONMENT, else main]")
def status(*, as_json: bool, env: str | None) -> None:
    """Show this user's platforms: every process with role, process id, address, uptime, and the running apps.

    Exit status 1 when none runs.
    """
    platforms = list(_platforms(config.environment(env)))
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
        "apps": [app for platform in platforms for app in platform["apps"]],
        "platforms": [
            {key: value for key, value in platform.items() if key not in ("processes", "apps")}
            for platform in platforms
        ],
    }


def _platforms(environment: str) -> Iterator[dict[str, Any]]:
    """Yield this user's running platform and the private ones of runs, each with its processes."""
    for folder in (_launch.shared_folder(), *_launch.private_folders()):
        record = _record(folder)
        if record is None:
            continue
        now = time.time()
        told = Fleet([], [], "")
        if record["state"] == "ready":
            told = anyio.run(fleet.ask, fleet.target(record), environment)
        yield {
            "id": record["id"],
            "private": record["private"],
            "state": record["state"],
            "server": record.get("server", ""),
            "gateway": record.get("gateway", ""),
            "folder": record["folder"],
            "uptime_s": _uptime(now, record["started_at"]),
            "problem": told.problem,
            "notices": [*told.notices, *_silent(record["processes"], told, now)],
            "apps": told.apps,
            "processes": [
                {**_shown(process, now), "platform": record["id"]}
                for process in (*record["processes"], *told.containers)
            ],
        }


def _silent(processes: Iterable[dict[str, Any]], told: Fleet, now: float) -> Iterator[str]:
    """Say which worker processes run, and have not been heard of: they are stopped, stuck or cut off."""
    if told.problem or told.worker_pids is None:
        return
    for process in processes:
        age = now - process["started_at"]
        if (
            process["role"] == "worker"
            and process["pid"]
            and age > _HEARD_S
            and process["pid"] not in told.worker_pids
        ):
            yield f"worker {process['pid']} runs, and sends no heartbeats: what it held is run elsewhere"


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
            for key in ("restarts", "id", "state", "function_id", "function", "app_id")
            if key in process
        },
    }


def _uptime(now: float, started_at: float) -> float:
    return round(max(0.0, now - started_at), 1)


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
        _print_table(rows)
        if platform["apps"]:
            _print_table(fleet.app_rows(platform["apps"]))
        if platform["problem"]:
            click.echo(f"  {platform['problem']}")
        for notice in platform["notices"]:
            click.echo(f"  {notice}")


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    width = fleet.terminal_width()
    for line in fleet.lined_up(rows, None if width is None else width - 2):
        click.echo(f"  {line}")


def _where(process: dict[str, Any]) -> Iterator[str]:
    yield process["address"]
    if process["role"] == "container":
        yield f"{process['id']} ({process['state']}, {process['function'] or process['function_id']})"
    if process.get("restarts"):
        count = process["restarts"]
        yield "(restarted once)" if count == 1 else f"(restarted {count} times)"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{seconds:.1f}s"
