"""A platform of its own for a round: `afield up --separate`, a second worker and a second scheduler."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from afield import _launch, _marks
from afield._bus.connection import Bus, BusAddress
from chaos.keeper import Keeper, environ_of

TESTS = Path(__file__).parent.parent
SKEW = Path(__file__).parent / "skew"
START_S = 60.0
STOP_S = 60.0

EXTRA = ("worker", "scheduler")
"""Roles of which there are two."""


class LeftoversError(AssertionError):
    """Something of a platform was left when it had stopped."""


class Platform:
    """A running platform in the folder `home`."""

    def __init__(
        self,
        home: Path,
        *,
        clustered: bool = False,
        skewed: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        """`clustered`: on three nats-servers, with three replicas of everything; `skewed`: its clock can be set."""
        self.home = home
        self.clustered = clustered
        unset = re.compile(r"AFIELD_|XDG_")
        kept = {name: value for name, value in os.environ.items() if not unset.match(name)}
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        self.env = {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "AFIELD_HOME": str(home),
            "AFIELD_REPLICAS": "3" if clustered else "1",
            **(env or {}),
        }
        self.clock = home / "clock"
        """The offset of the clock of all Python processes (see skew/sitecustomize.py)."""
        if skewed:
            self.env["PYTHONPATH"] = os.pathsep.join([str(SKEW), self.env["PYTHONPATH"]])
            self.env["AFIELD_CHAOS_CLOCK"] = str(self.clock)
        self.extra: list[Keeper] = []
        up = ("chaos.cluster_up",) if clustered else ("afield.cli", "up", "--separate")
        self._command = (sys.executable, "-m", *up)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> _launch.PlatformFolder:
        """The folder that the supervisor holds."""
        return _launch.PlatformFolder(self.home / "state" / "platform")

    @property
    def record(self) -> dict[str, Any]:
        """What the supervisor says of its processes, as of now."""
        record = self.folder.record()
        assert record is not None, "the platform does not run"
        return record

    def nodes(self) -> dict[str, int]:
        """Return the nats-servers that run now, by name: one, or those of a cluster."""
        server = self._pids_of("nats-server")
        if not self.clustered:
            return {"nats-server": server[0]} if server else {}
        found = {}
        for pid in _marks.descendants(*server):
            match = re.search(rb"/(n\d)\.json\0$", _cmdline(pid))
            if match:
                found[match[1].decode()] = pid
        return dict(sorted(found.items()))

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role that run now, the supervisor's first."""
        return list(self.nodes().values()) if role == "nats-server" else self._pids_of(role)

    def _pids_of(self, role: str) -> list[int]:
        own = [p["pid"] for p in self.record["processes"] if p["role"] == role and p["pid"]]
        return own + [keeper.pid for keeper in self.extra if keeper.role == role and keeper.pid]

    def leftovers(self) -> set[int]:
        """Return all processes that carry a mark of this platform."""
        marks = [_launch.platform_id(self.folder), *(keeper.mark for keeper in self.extra)]
        return {pid for mark in marks for pid in _marks.marked(mark)}

    async def start(self) -> None:
        """Start everything. Raises RuntimeError, with the last words, when it does not come up."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.set_clock(0.0)
        self._process = self._spawn()
        end = time.monotonic() + START_S
        while (record := self.folder.record()) is None or record["state"] != "ready":
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the platform did not come up:\n{(self.home / 'up.log').read_text()}")
            await anyio.sleep(0.05)
        environ = environ_of(self.pids("registry")[0])
        for role in EXTRA:
            keeper = Keeper(role, 2, record["id"], self.folder.root, environ)
            keeper.start()
            self.extra.append(keeper)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with open(self.home / "up.log", "ab") as log:
            return subprocess.Popen(
                self._command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def set_clock(self, offset: float) -> None:
        """Set the clock of a skewed platform: `offset` seconds from the true time."""
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("=d", offset))

    async def stop(self) -> set[int]:
        """Stop everything in an orderly way; return the processes that were left over then, which are killed."""
        for keeper in self.extra:
            await anyio.to_thread.run_sync(keeper.stop)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(
                signal.SIGTERM
            )  # not SIGINT, which a program in the background may ignore
            try:
                await anyio.to_thread.run_sync(self._process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        left = self.leftovers()
        _marks.kill_all(self.leftovers)
        return left

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Bus]:
        """Connect as the operator, who may see everything."""
        user, _, password = self.record["operator"].partition(":")
        async with Bus.open(BusAddress(self.record["server"], user, password), name="chaos") as bus:
            yield bus

    def leaders(self) -> dict[str, int]:
        """Return which process claims which name in the scheduler's lease: holder to process id, by the logs."""
        logs = [(self.folder.root / "logs" / "scheduler.log", self.pids("scheduler")[:1])]
        logs += [(keeper.log, [keeper.pid]) for keeper in self.extra if keeper.role == "scheduler"]
        found = {}
        for path, pids in logs:
            for line in path.read_text(errors="replace").splitlines():
                if '"leads"' in line and pids:
                    found[json.loads(line)["holder"]] = pids[0]
        return found


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # gone meanwhile
        return b""


@asynccontextmanager
async def platform(home: Path, **options: Any) -> AsyncIterator[Platform]:
    """A platform that runs inside the block. What its stop leaves over is killed, and raised as LeftoversError."""
    made = Platform(home, **options)
    try:
        await made.start()
        async with anyio.create_task_group() as tasks:
            for keeper in made.extra:
                tasks.start_soon(keeper.keep)
            yield made
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            left = await made.stop()
    if left:
        raise LeftoversError(f"processes {sorted(left)} outlived their platform")
