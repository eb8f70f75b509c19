"""Measure afield beside what a user would pick instead: `python -m benchmarks.peers`."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from afield_platform.linux import become_subreaper
from benchmarks.peers import document
from benchmarks.peers.environment import (
    MissingError,
    nats_server,
    package_versions,
    peers_python,
    redis_server,
    server_version,
)
from benchmarks.peers.rounds import Rounds
from benchmarks.peers.systems import BASE, SYSTEMS, System, chosen_systems
from benchmarks.peers.table import Table, show
from benchmarks.peers.works import WORKS, chosen_works

BUILD = Path("build/peers")
WIDTH = 190
"""Columns that the table needs where the output is no terminal."""


def main() -> int:
    """Measure, print the table and store it; or show what is stored. Return the exit status."""
    args = _arguments()
    try:
        stored, whole = (document.load(args.output), True) if args.stored else _measure(args)
        if args.page:
            document.put_into(args.page, document.section(stored))
    except (MissingError, FileNotFoundError, ValueError) as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench-peers: interrupted in the first round: nothing is stored", file=sys.stderr)
        return 130
    if args.markdown:
        print(document.section(stored))
    else:
        _print(stored)
    return 0 if whole else 130


def _arguments() -> argparse.Namespace:
    peers, works = ", ".join(each.name for each in SYSTEMS), ", ".join(each.name for each in WORKS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help=f"some of {peers}")
    parser.add_argument("--work", nargs="+", default=[], metavar="WORK", help=f"some of {works}")
    parser.add_argument("--rounds", type=int, help="how many; 5 by default, 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works")
    parser.add_argument("--output", type=Path, default=Path("build/peers.json"), help="where the JSON is")
    parser.add_argument("--stored", action="store_true", help="measure nothing, show what is stored")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--page", type=Path, help="put the table into this page, such as docs/performance.md")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    try:
        args.systems, args.works = chosen_systems(args.peers), chosen_works(args.work)
    except ValueError as error:
        parser.error(str(error))
    if args.rounds < 1:
        parser.error(f"expected at least one round, got {args.rounds}")
    return args


def _measure(args: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Return what is stored of the run, and whether it came to its end."""
    python, servers, versions = _needed(args.systems)
    about = {
        "command": "make bench-peers" + (f' ARGS="{shlex.join(sys.argv[1:])}"' if sys.argv[1:] else ""),
        "measured_at": document.now(),
        "machine": document.machine(),
        "versions": versions,
    }
    table = Table.of(args.works, {system.name: system.title for system in args.systems}, BASE)
    rounds = Rounds(
        systems=args.systems,
        works=args.works,
        rounds=args.rounds,
        quick=args.quick,
        python=python,
        servers=servers,
        logs=BUILD / "logs",
    )
    become_subreaper()
    signal.signal(signal.SIGTERM, _terminated)
    began = time.monotonic()
    stored: dict[str, Any] = {}

    def keep(done: int) -> None:
        stored.update(document.store(args.output, table, about, rounds=done, took_s=time.monotonic() - began))

    whole = True
    try:
        rounds.run(table, keep)
    except KeyboardInterrupt:
        if not stored:
            raise
        whole = False
        print("interrupted: what is shown has all rounds that were finished", file=sys.stderr)
    print(f"stored in {args.output}", file=sys.stderr)
    return stored, whole


def _needed(systems: Sequence[System]) -> tuple[Path, dict[str, str], dict[str, str]]:
    """Return the interpreter of the peers, the variables that name servers, and the versions of everything."""
    python, servers = Path(sys.executable), {"PEERS_NATS_SERVER": nats_server()}
    versions = {"afield": version("afield")}
    if not all(system.ours for system in systems):
        python = peers_python(BUILD / "venv").absolute()
        versions |= package_versions(python)
    if any(system.name == "celery" for system in systems):
        servers["PEERS_REDIS_SERVER"] = redis_server(python)
    versions |= {Path(server).name: server_version(server) for server in servers.values()}
    return python, servers, versions


def _terminated(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)


def _print(stored: Mapping[str, Any]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    table = Table.load(stored)
    console.print(show(table, "xn: afield is n times better"))
    for reason in table.reasons():
        console.print(reason, style="dim", markup=False, highlight=False)
    console.print(
        f"{stored['command']}: {document.caption(stored)}", style="dim", markup=False, highlight=False
    )


if __name__ == "__main__":
    sys.exit(main())
