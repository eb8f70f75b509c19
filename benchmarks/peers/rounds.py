"""The order of things: all peers in turn, round after round, each started afresh for each of its launches."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import tree
from benchmarks.peers.session import ProgramError, Session, running
from benchmarks.peers.systems import System
from benchmarks.peers.table import Table
from benchmarks.peers.works import LAUNCHES, SLOTS, Launch, Work


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What to run. `python` is the interpreter of the peers' environment, `servers` the variables that name servers."""

    systems: Sequence[System]
    works: Sequence[Work]
    rounds: int
    quick: bool
    python: Path
    servers: Mapping[str, str]
    logs: Path

    def run(self, table: Table, after_round: Callable[[int], None]) -> None:
        """Measure everything into a table; `after_round` is told how many rounds are done."""
        for system in self.systems:
            self._log(system).unlink(missing_ok=True)
        for number in range(1, self.rounds + 1):
            for system in self.systems:
                for launch in LAUNCHES:
                    works = [work for work in self.works if work.launch == launch]
                    self._launch(system, launch, works, table, f"round {number} of {self.rounds}")
            after_round(number)

    def _launch(
        self, system: System, launch: Launch, works: Sequence[Work], table: Table, where: str
    ) -> None:
        """Do works in one start of a system, or in more where one fails in a way that ends the program."""
        left = list(works)
        while left:
            with self._running(system, launch) as session:
                while left:
                    work = left.pop(0)
                    _say(f"{where}: {system.title}: {work.name}")
                    try:
                        answer = self._measure(session, work)
                    except ProgramError as error:
                        table.add(work, system.name, {"failed": str(error)})
                        break
                    table.add(work, system.name, answer)

    def _running(self, system: System, launch: Launch) -> Any:
        python = sys.executable if system.ours else str(self.python)
        return running(
            [python, "-m", system.program],
            log=self._log(system),
            slots=SLOTS if launch == "slots" else os.cpu_count() or 1,
            servers=self.servers,
        )

    def _log(self, system: System) -> Path:
        return self.logs / f"{system.name}.log"

    def _measure(self, session: Session, work: Work) -> dict[str, Any]:
        sizes = work.quick if self.quick else work.full
        if work.name == "idle":
            return _idle(session, work, **sizes)
        answer = session.ask({"work": work.name, **sizes}, deadline_s=work.deadline_s)
        if work.name == "nothing" and "figures" in answer:
            return {"figures": {"s": time.perf_counter() - session.began}}
        return answer


def _idle(session: Session, work: Work, *, settle: float, watch: float) -> dict[str, Any]:
    """Look at the processes of a system that nobody calls, once its start has had time to settle."""
    said = session.ask({"work": work.name}, deadline_s=work.deadline_s)
    if "ready" not in said:
        return said
    time.sleep(settle)
    processes = tree.below(session.pid)
    if said["client_is_part"]:
        processes.append(psutil.Process(session.pid))
    used = tree.processor(processes, watch)
    figures = {"memory": tree.memory(processes) / 1e6, "processor": 100 * used}
    answer = session.ask({}, deadline_s=work.deadline_s)
    return answer if "failed" in answer else {"figures": figures}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
