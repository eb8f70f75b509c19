"""`python -m chaos`: run rounds of faults, print the table, store it as JSON. Exits with 1 when something is wrong."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import anyio

from chaos.plan import CLUSTER_FAULTS, FAULTS, Fault, make_plan
from chaos.platform import LeftoversError, platform
from chaos.recipes import make_recipes
from chaos.rounds import Outcome, Round
from chaos.table import Row, as_json, render


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="which ones (default: all)")
    parser.add_argument("--cluster", action="store_true", help="on three nats-servers, with three replicas")
    parser.add_argument("--calls", action="store_true", help="single calls of several threads, not one map")
    parser.add_argument("--rounds", type=int, default=20, help="rounds a fault (default 20)")
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs of the map (default 10000)")
    parser.add_argument(
        "--asleep", type=float, default=200.0, help="seconds that they sleep together (default 200)"
    )
    parser.add_argument("--seed", type=int, default=1, help="round n of a fault has the seed SEED + n")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds after which a map is given up")
    parser.add_argument("--json", type=Path, help="where to write the table (default: build/chaos.json)")
    parser.add_argument("--keep", type=Path, help="where to keep the files of the rounds (default: nowhere)")
    arguments = parser.parse_args()
    if arguments.json is None:
        arguments.json = Path("build") / ("chaos-cluster.json" if arguments.cluster else "chaos.json")
    known = faults_of(arguments)
    unknown = [name for name in arguments.faults if name not in known]
    if unknown:
        parser.error(f"there is no fault {unknown[0]!r}; there are: {', '.join(known)}")
    return arguments


def note(row: Row, outcome: Outcome, inputs: int) -> None:
    """Add a round to its row."""
    found = outcome.findings
    row.rounds += 1
    row.strikes += outcome.strikes
    row.inputs += inputs
    row.lost += len(found.lost)
    row.duplicated += len(found.duplicated)
    row.wrong += len(found.wrong) + len(found.excess) + len(outcome.leftovers) + bool(outcome.problem)
    row.repeats += found.repeats
    row.stall_s = max(row.stall_s, found.stall)


def tell(fault: str, seed: int, outcome: Outcome) -> None:
    """Say how a round went, on stderr."""
    found = outcome.findings
    state = "well" if outcome.clean else "BAD"
    print(
        f"{time.strftime('%H:%M:%S')} {fault}, seed {seed}: {state}; {outcome.seconds:.1f} s, "
        f"{outcome.strikes} strikes, {found.repeats} run again, stall {found.stall:.1f} s",
        file=sys.stderr,
        flush=True,
    )
    problems = [
        *([f"lost: {found.lost[:20]}"] if found.lost else []),
        *([f"duplicated: {found.duplicated[:20]}"] if found.duplicated else []),
        *found.wrong[:5],
        *found.excess[:5],
        *outcome.leftovers,
        *([outcome.problem] if outcome.problem else []),
    ]
    for problem in problems:
        print(f"    {problem}", file=sys.stderr, flush=True)


def keep(path: Path, rows: list[Row]) -> None:
    """Write the table as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(rows), indent=1) + "\n")


async def run(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    """Run all rounds; each fault has a platform of its own."""
    rows = []
    for fault in arguments.faults or list(faults_of(arguments)):
        row = Row(fault, servers=3 if arguments.cluster else 1)
        rows.append(row)
        try:
            await run_fault(arguments, folder / fault, row)
        except LeftoversError as error:
            row.wrong += 1
            print(f"    {error}", file=sys.stderr, flush=True)
        keep(arguments.json, rows)  # after each fault: all of them take hours
    return rows


async def run_fault(arguments: argparse.Namespace, folder: Path, row: Row) -> None:
    """Run all rounds of one fault."""
    faults = faults_of(arguments)[row.fault]
    skewed = any(each.target == "clock" for each in faults)
    async with platform(folder / "home", clustered=arguments.cluster, skewed=skewed) as running:
        for number in range(arguments.rounds):
            seed = arguments.seed + number
            recipes = make_recipes(seed, arguments.inputs, arguments.asleep)
            plan = make_plan(faults, seed, arguments.limit)
            files = folder / f"round{seed}"
            made = Round(running, files, recipes, plan, limit=arguments.limit, calls=arguments.calls)
            outcome = await made.run()
            note(row, outcome, arguments.inputs)
            tell(row.fault, seed, outcome)


def faults_of(arguments: argparse.Namespace) -> dict[str, tuple[Fault, ...]]:
    """Return the faults there are."""
    return CLUSTER_FAULTS if arguments.cluster else FAULTS


def main() -> int:
    """Run everything; return the exit status."""
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="afield-chaos-") as temporary:
        rows = anyio.run(run, arguments, arguments.keep or Path(temporary))
    print(render(rows))
    return int(any(row.lost or row.duplicated or row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main())
