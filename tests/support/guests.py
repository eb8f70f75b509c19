"""Containers under test: a small worker that starts one, sends it packs, and keeps what comes back."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from afield import serialization
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec
from afield._wire.guest import Cancel, Credit, Ready, Results, Run, Start, StartFailed, Stop, Yields
from afield._wire.ids import new_id
from afield._wire.messages import BlobRef, InputResult
from afield_worker.runners.base import Container, ExitInfo, Stream
from afield_worker.runners.process import ProcessRunner

CALL_ID = "fc-k3j9x2abcd-0-17"
DEADLINE = 30.0


DAEMON = """
import os, subprocess, sys, time
def f(how):
    child = subprocess.Popen(["sleep", "1000"])
    forked = os.fork()
    if forked == 0:
        time.sleep(1000)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, writer)
            os.write(writer, b"%d" % os.getpid())
            os.environ.clear()
            time.sleep(1000)
        os._exit(0)
    daemon = int(os.read(reader, 20))
    print(child.pid, forked, daemon, flush=True)
    if how == "crash": os._exit(1)
    return [child.pid, forked, daemon]
"""
"""Leaves a subprocess, a fork and a daemon running, and returns their process ids."""


def make_start(
    home: Path,
    source: str,
    qualname: str = "f",
    *,
    module: str = "app",
    version: int = 1,
    params: bytes = b"",
    **spec: Any,
) -> Start:
    """Write `source` as the entry module of a fresh container and return its Start."""
    home.mkdir(exist_ok=True)
    (home / f"{module}.py").write_text(source)
    code = CodeRef(module=module, qualname=qualname, entry=f"{module}.py")
    record = FunctionRecord(
        function_id="fu-1",
        app_id="ap-1",
        app_name="",
        ws="main",
        shard=0,
        spec=FunctionSpec(name=qualname, code=code, **spec),
        version=version,
        params=params,
    )
    return Start(
        container_id=new_id("ta"), worker_id="wk-1", function=record, home=str(home), blob_dir=str(home)
    )


def payload(*args: Any, **kwargs: Any) -> bytes:
    """Return the serialised arguments of a call."""
    return serialization.dumps_call(args, kwargs).join()


def value_of(result: InputResult) -> Any:
    """Return the value that an input ended in."""
    assert isinstance(result.value, bytes), result.error
    return serialization.loads(result.value)


def read_bytes(path: str) -> bytes:
    """Return what a small file holds; for asynchronous tests too, whose loop it may block."""
    return Path(path).read_bytes()


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return b"Z" not in read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1]
    except OSError:
        return False


class Guest:
    """One container, and all that it sent, wrote and became."""

    def __init__(self) -> None:
        self.container: Container
        self.frames: list[Any] = []
        self.written: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.exit: ExitInfo | None = None
        self.after_exit: list[Any] = []
        """What came after the end was told: nothing may."""
        self._news = asyncio.Event()
        self._tokens = itertools.count(1)

    # -- ContainerHandlers: a Guest has one container, and need not be told which

    def on_frame(self, container: Container, frame: Any) -> None:  # noqa: ARG002
        (self.frames if self.exit is None else self.after_exit).append(frame)
        self._news.set()

    def on_output(self, container: Container, stream: Stream, data: bytes) -> None:  # noqa: ARG002
        self.written[stream] += data
        self._news.set()

    def on_exit(self, container: Container, info: ExitInfo) -> None:  # noqa: ARG002
        assert self.exit is None
        self.exit = info
        self._news.set()

    # -- for tests

    @property
    def stdout(self) -> str:
        return self.written["stdout"].decode()

    @property
    def stderr(self) -> str:
        return self.written["stderr"].decode()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until the container did something that makes `condition` true."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def ring_until(self, condition: Callable[[], Any]) -> None:
        """Ring until `condition` is true: the guest takes a ring that comes too early for a misfire."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                self.container.interrupt()
                self._news.clear()
                with anyio.move_on_after(0.02):
                    await self._news.wait()

    def ready_s(self) -> float:
        """Return the seconds from the fork to Ready."""
        (ready,) = [frame for frame in self.frames if isinstance(frame, Ready)]
        return ready.load_s

    async def started(self) -> Ready | StartFailed:
        await self.until(lambda: any(isinstance(f, Ready | StartFailed) for f in self.frames) or self.exit)
        (first, *_) = [frame for frame in self.frames if isinstance(frame, Ready | StartFailed)]
        return first

    def send(
        self, *payloads: bytes | BlobRef, kind: Any = "map", credit: int = 0, method: str = "", first: int = 0
    ) -> int:
        """Send a pack and return its token."""
        token = next(self._tokens)
        run = Run(
            token=token,
            call_id=CALL_ID,
            kind=kind,
            first=first,
            args=payloads,
            credit=credit,
            method=method,
        )
        self.container.send(run)
        return token

    def results(self, token: int) -> dict[int, InputResult]:
        frames = [f for f in self.frames if isinstance(f, Results) and f.token == token]
        return {result.index: result for frame in frames for result in frame.results}

    def values(self, token: int) -> list[Any]:
        frames = [f for f in self.frames if isinstance(f, Yields) and f.token == token]
        return [serialization.loads(value) for f in frames for value in f.values if isinstance(value, bytes)]

    async def finished(self, token: int, count: int = 1) -> list[InputResult]:
        await self.until(lambda: len(self.results(token)) == count or self.exit)
        return [self.results(token)[index] for index in range(count)]

    async def call(self, *args: Any, method: str = "") -> InputResult:
        """Run one input and return how it ended."""
        (result,) = await self.finished(self.send(payload(*args), method=method))
        return result

    async def value(self, *args: Any, method: str = "") -> Any:
        """Run one input and return its value."""
        return value_of(await self.call(*args, method=method))

    def cancel(self, token: int, *indices: int) -> None:
        self.container.send(Cancel(token=token, indices=indices))
        self.container.interrupt()

    def expire(self, token: int, *indices: int) -> None:
        """Say in a frame that the input that runs has had its time."""
        self.container.send(Cancel(token=token, indices=indices, why="timeout"))

    def credit(self, token: int, total: int) -> None:
        self.container.send(Credit(token=token, total=total))

    async def stop(self, grace_s: float = 30.0) -> ExitInfo:
        self.request_stop(grace_s)
        return await self.ended()

    def request_stop(self, grace_s: float = 30.0) -> None:
        self.container.send(Stop(grace_s=grace_s))

    async def ended(self) -> ExitInfo:
        await self.until(lambda: self.exit)
        assert self.exit is not None
        return self.exit


class Launcher:
    """Starts containers of a runner, one after the other, and kills them at the end."""

    def __init__(self, runner: ProcessRunner, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        self.guests: list[Guest] = []
        self._numbers = itertools.count()

    async def __call__(
        self,
        source: str,
        qualname: str = "f",
        *,
        worker_env: dict[str, str] | None = None,
        start: Start | None = None,
        **spec: Any,
    ) -> Guest:
        """Start a container for a function of `source`, without waiting for Ready."""
        guest = Guest()
        home = self.folder / f"home-{next(self._numbers)}"
        start = start or make_start(home, source, qualname, **spec)
        guest.container = await self.runner.start(start, worker_env or {}, guest)
        self.guests.append(guest)
        return guest

    async def close(self) -> None:
        for guest in self.guests:
            guest.container.kill()
        for guest in self.guests:
            await guest.ended()
            assert guest.after_exit == []


@asynccontextmanager
async def launching(runner: ProcessRunner, folder: Path) -> AsyncIterator[Launcher]:
    """Yield a Launcher whose containers are gone afterwards."""
    launcher = Launcher(runner, folder)
    try:
        yield launcher
    finally:
        await launcher.close()
