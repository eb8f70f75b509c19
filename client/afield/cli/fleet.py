"""What the services of a platform know: its running apps and its containers."""

import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

from afield import _launch, config

if TYPE_CHECKING:
    from afield._bus.connection import Bus
    from afield._wire.functions import AppRecord, ContainerRecord, WorkerRecord

ASK_S: Final = 3.0
"""Seconds that a service may take to answer."""


class Target(NamedTuple):
    """A platform to ask."""

    server: str
    token: str
    platform: str
    """Its id; empty for a configured server."""


class Fleet(NamedTuple):
    """What was told; `problem` says what was not, and why; `notices` what is not as it should be."""

    containers: list[dict[str, Any]]
    apps: list[dict[str, Any]]
    problem: str
    notices: Sequence[str] = ()
    worker_pids: frozenset[int] | None = None
    """The workers that are heard of; None if nobody was asked."""


def targets() -> list[Target]:
    """Return the platforms whose apps this user may mean: the configured server, else what runs on this host."""
    if (server := config.server()) is not None:
        return [Target(server.url, server.token, "")]
    folders = [_launch.shared_folder(), *_launch.private_folders()]
    records = [folder.record() for folder in folders if folder.root.exists() and folder.alive()]
    return [target(record) for record in records if record is not None and record["state"] == "ready"]


def target(record: dict[str, Any]) -> Target:
    """Return the platform that a record in its folder describes."""
    return Target(record["server"], record["token"], record["id"])


@asynccontextmanager
async def connected(to: Target) -> "AsyncIterator[Bus]":
    """Connect to a platform. Raises the errors of the client for one that does not answer."""
    from afield._bus.connection import Bus, BusAddress
    from afield._bus_errors import as_user_errors

    user, _, password = to.token.partition(":")
    with as_user_errors():
        async with Bus.open(
            BusAddress(to.server, user, password), name="afield-cli", connect_timeout=ASK_S
        ) as bus:
            yield bus


async def running_apps(bus: "Bus", environment: str) -> "tuple[AppRecord, ...]":
    """Return the running apps of an environment, newest first."""
    from afield._wire.api import APP_LIST, ListApps

    return (await bus.call(APP_LIST, ListApps(ws=environment), timeout=ASK_S)).apps


def shown_app(app: "AppRecord", platform: str) -> dict[str, Any]:
    """Return what a user may want to know of an app."""
    return {
        "id": app.app_id,
        "name": app.name,
        "state": app.state,
        "environment": app.ws,
        "since": datetime.fromtimestamp(app.created_at).astimezone().isoformat(timespec="seconds"),
        "functions": dict(app.functions),
        "platform": platform,
    }


async def ask(to: Target, environment: str) -> Fleet:
    """Return the containers of a platform, and the running apps of one environment; each even if the other fails."""
    from afield.exception import Error

    containers: list[dict[str, Any]] = []
    apps: list[dict[str, Any]] = []
    problems = []
    notices: Sequence[str] = ()
    workers: frozenset[int] | None = None
    try:
        with anyio.fail_after(3 * ASK_S):
            async with connected(to) as bus:
                try:
                    apps = [shown_app(app, to.platform) for app in await running_apps(bus, environment)]
                except Exception as error:  # the containers are worth showing
                    problems.append(f"the registry did not answer: {error}")
                containers, notices, workers = await _containers(bus)
    except (Error, OSError) as error:  # TimeoutError is an OSError
        problems.append(f"the fleet did not answer: {error}")
    return Fleet(containers, apps, "; ".join(problems), notices, workers)


async def _containers(bus: "Bus") -> tuple[list[dict[str, Any]], Sequence[str], frozenset[int]]:
    from afield._wire.api import FLEET_STATS, StatsRequest
    from afield._wire.codec import build
    from afield._wire.functions import WorkerRecord

    stats = await bus.call(FLEET_STATS, StatsRequest(), timeout=ASK_S)
    workers = [build(WorkerRecord, values) for values in stats.workers]
    containers = [_shown_container(worker, each) for worker in workers for each in worker.containers]
    return containers, stats.notices, frozenset(worker.pid for worker in workers)


def _shown_container(worker: "WorkerRecord", container: "ContainerRecord") -> dict[str, Any]:
    return {
        "role": "container",
        "pid": container.pid,
        "address": worker.worker_id,
        "started_at": container.started_at,
        "id": container.container_id,
        "state": container.state,
        "function_id": container.function_id,
        "function": container.function,
        "app_id": container.app_id,
    }


def app_rows(apps: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a table of apps, its head first."""
    return [("APP", "ID", "STATE", "SINCE", "FUNCTIONS")] + [
        (
            app["name"] or "-",
            app["id"],
            app["state"],
            app["since"][:19].replace("T", " "),
            ", ".join(app["functions"]) or "-",
        )
        for app in apps
    ]


def terminal_width() -> int | None:
    """Return how many columns there are to print in; None where standard output is no terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def lined_up(rows: Sequence[tuple[str, ...]], width: int | None = None) -> list[str]:
    """Return the lines of a table, whose first row is its head; the last column is as wide as it is.

    Where a line would be longer than `width`, each cell gets a line of its own, with its head before it: a terminal
    would break the line anywhere, in the middle of an id too.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]
    return lines if width is None or max(map(len, lines)) <= width else _one_below_another(rows, width)


def _one_below_another(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    head, *rest = rows
    margin = max(map(len, head)) + 2
    lines: list[str] = []
    for row in rest:
        lines += [""] if lines else []
        for name, cell in zip(head, row, strict=True):
            folded = textwrap.wrap(
                cell, max(1, width - margin), break_long_words=False, break_on_hyphens=False
            )
            lines += [
                f"{label:{margin}}{part}"
                for label, part in zip(chain([name], repeat("")), folded, strict=False)
            ]
    return lines
