"""One round: a platform, a map, faults, and what is found afterwards."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import anyio

from afield._bus.connection import Bus
from chaos.checks import Findings, examine
from chaos.evidence import Applied, Evidence, arrivals, parse_executions, parse_yielded
from chaos.plan import Strike
from chaos.platform import Platform
from chaos.recipes import Recipe, number_of
from chaos.victims import strike
from chaos.watch import Watch, left_over

PROGRAM = Path(__file__).parent / "programs" / "mapper.py"


class Outcome(NamedTuple):
    """What came of a round."""

    findings: Findings
    strikes: int
    leftovers: list[str]
    """Inputs and consumers that should be gone."""
    seconds: float
    """From the first result to the last."""
    problem: str
    """Why the client ended badly, if it did."""

    @property
    def clean(self) -> bool:
        """Whether all is well."""
        return self.findings.clean and not self.leftovers and not self.problem


class Round:
    """A map of `recipes` on a running platform, with strikes; or single calls of them. Its files are in `folder`."""

    def __init__(
        self,
        platform: Platform,
        folder: Path,
        recipes: list[Recipe],
        plan: tuple[Strike, ...],
        *,
        limit: float,
        calls: bool = False,
    ) -> None:
        """`limit`: seconds after which a map that has not ended is given up, and its inputs are lost."""
        self._platform = platform
        self._folder = folder
        self._recipes = recipes
        self._plan = plan
        self._limit = limit
        self._calls = calls
        self._applied: list[Applied] = []
        folder.mkdir(parents=True)
        (folder / "inputs").write_text("".join(json.dumps(recipe) + "\n" for recipe in recipes))
        self.results, self.effects = folder / "results", folder / "effects"

    async def run(self) -> Outcome:
        """Run it to its end."""
        async with self._platform.connected() as bus:
            watch = Watch(bus, number_of if self._calls else None)
            await bus.flush()
            client = self._start_client()
            problem = ""
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._strike_all, bus, watch)
                    problem = await self._wait(client)
                    watch.close()  # when the caller has everything, its results are removed, and no longer refuse others
                    tasks.cancel_scope.cancel()
            finally:
                if client.poll() is None:
                    client.kill()
                    client.wait()
            leftovers = await left_over(bus) if not problem else []
            self._write_down(watch)
            evidence = self._evidence(watch)
        times = arrivals(evidence)
        seconds = times[-1] - times[0] if times else 0.0
        return Outcome(examine(evidence), len(self._applied), leftovers, seconds, problem)

    def _start_client(self) -> "subprocess.Popen[bytes]":
        files = (self._folder / "inputs", self.results, self.effects)
        with open(self._folder / "client.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, str(PROGRAM), "calls" if self._calls else "map", *map(str, files)],
                env=self._platform.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _wait(self, client: "subprocess.Popen[bytes]") -> str:
        with anyio.move_on_after(self._limit):
            while client.poll() is None:  # noqa: ASYNC110 - waiting in a thread could not be given up
                await anyio.sleep(0.05)
        said = (self._folder / "client.log").read_text(errors="replace")[-2000:]
        if client.poll() is None:
            return f"the map had not ended after {self._limit:g} s; {said}"
        return "" if client.returncode == 0 else f"the client ended with {client.returncode}: {said}"

    async def _strike_all(self, bus: Bus, watch: Watch) -> None:
        await watch.first.wait()
        began = time.monotonic()
        for planned in self._plan:
            await anyio.sleep(max(0.0, began + planned.at - time.monotonic()))
            await strike(self._platform, bus, planned, self._applied.append)

    def _evidence(self, watch: Watch) -> Evidence:
        executions = self.effects.read_text().splitlines() if self.effects.exists() else []
        yielded = self.results.read_text().splitlines() if self.results.exists() else []
        return Evidence(
            self._recipes,
            parse_executions(executions),
            parse_yielded(yielded),
            watch.stored,
            self._applied,
        )

    def _write_down(self, watch: Watch) -> None:
        """Keep what only this process knows, for whoever looks for the reason of a bad round."""
        lines = [f"stored {each.number} {each.subject} {each.at:.6f}\n" for each in watch.stored]
        lines += [
            f"strike {done.began:.6f} {done.ended:.6f} {sorted(done.pids)} {done.strike}\n"
            for done in self._applied
        ]
        (self._folder / "seen").write_text("".join(lines))
