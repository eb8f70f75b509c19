"""Further instances of services, beside those of the platform: started again when they die, like those."""

import os
import subprocess
import sys
from pathlib import Path

import anyio

from afield import _marks
from afield_platform.linux import die_with_parent

RESTART_S = 0.3
"""Seconds until a service that died is started again."""


class Keeper:
    """One more process of a role, with a mark of its own: the platform's supervisor knows nothing of it."""

    def __init__(
        self, role: str, number: int, platform_id: str, folder: Path, environ: dict[str, str]
    ) -> None:
        self.role = role
        self.mark = f"{platform_id}-{role}{number}"
        self.log = folder / "logs" / f"{role}{number}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._env = {**environ, _marks.MARK: self.mark}
        self._env.pop("AFIELD_READY_FD", None)

    @property
    def pid(self) -> int:
        """Its process id, 0 while it does not run."""
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-P", "-m", "afield_platform.serve"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--secrets", str(self._folder / "secrets.json"), self.role],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it only asks the kernel for a signal
            )

    async def keep(self) -> None:
        """Start it again whenever it ends, without what it left over; until cancelled."""
        while True:
            assert self.process is not None
            await anyio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)
            self.sweep()
            await anyio.sleep(RESTART_S)
            self.start()

    def stop(self, patience: float = 15.0) -> None:
        """End it in an orderly way, and kill what is left after `patience` seconds."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        self.sweep()

    def sweep(self) -> None:
        """Kill what a dead one left over."""
        _marks.kill_all(lambda: _marks.marked(self.mark))


def environ_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = (line.partition(b"=") for line in file.read().split(b"\0") if line)
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
