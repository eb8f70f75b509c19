"""One start of a peer's program: requests to it, answers with a deadline, and nothing left at the end."""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import tree

ROOT: Final = Path(__file__).resolve().parents[2]
STOP_S: Final = 15.0
"""Seconds that a program has to stop its peer by itself, before everything is killed."""


class ProgramError(Exception):
    """A program ended, or did not answer in time."""


class Session:
    """A running program."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, began: float) -> None:
        self._process = process
        self._log = log
        self._received = b""
        self.began = began
        """When it was started, on the clock of time.perf_counter."""

    @property
    def pid(self) -> int:
        """Return the process id of the program."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], *, deadline_s: float) -> dict[str, Any]:
        """Send a request and return its answer. Raises ProgramError."""
        self.send(request)
        return self.receive(deadline_s=deadline_s)

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a line of JSON. Raises ProgramError when the program has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self, *, deadline_s: float) -> dict[str, Any]:
        """Return the next line of JSON. Raises ProgramError when none comes in time or the program has ended."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        end = time.monotonic() + deadline_s
        while b"\n" not in self._received:
            ready, _, _ = select.select([output], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise ProgramError(f"no answer within {deadline_s:g} s")
            data = os.read(output, 65536)
            if not data:
                raise self._ended()
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """Close the program's input, wait for it, then kill what is left of it and of its peer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, with a request unread
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass  # killed below, with everything else

    def kill(self) -> None:
        """Kill the program, and all that descends from it or was left to us."""
        self._process.kill()
        self._process.wait()
        tree.kill_all_below()

    def _ended(self) -> ProgramError:
        status: int | None = None
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass  # it has closed its output, and lives
        said = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        last = said[-1][-200:] if said else "it said nothing"
        return ProgramError(f"the program ended with status {status}: {last}")


@contextmanager
def running(command: list[str], *, log: Path, slots: int, servers: Mapping[str, str]) -> Iterator[Session]:
    """Run a program for the block, in a session and a folder of its own.

    `servers` is added to its environment; what it prints goes to the end of `log`. At the end it is given STOP_S to stop
    its peer, unless the block ends in an exception. In any case nothing is left.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as folder,
        log.open("ab") as end,
    ):
        env = {
            **os.environ,
            **servers,
            "PEERS_FOLDER": folder,
            "PEERS_SLOTS": str(slots),
            "AFIELD_HOME": f"{folder}/afield",
            "PYTHONUNBUFFERED": "1",
        }
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=end,
            start_new_session=True,
        )
        session = Session(process, log, began)
        try:
            yield session
            session.stop()
        finally:
            session.kill()
