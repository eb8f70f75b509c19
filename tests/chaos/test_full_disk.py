"""A disk that is full under the store of nats-server. Needs the right to mount a file system."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from afield_platform.full_disk import ROOM
from chaos.platform import Platform, platform
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).parent / "programs" / "bulky.py"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose store is on a small disk of its own."""
    store = tmp_path / "home" / "state" / "platform" / "jetstream"
    store.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", str(store)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path / "home"
    subprocess.run(["umount", "--lazy", str(store)], check=True)


def said(running: Platform, text: str) -> bool:
    """Tell whether the supervisor or nats-server has said this."""
    logs = (running.home / "up.log", running.folder.root / "logs" / "nats-server.log")
    return any(text in log.read_text(errors="replace") for log in logs)


def start(running: Platform, gate: Path) -> "subprocess.Popen[str]":
    """Start the client."""
    command = [sys.executable, str(PROGRAM), str(gate)]
    return subprocess.Popen(command, env=running.env, stdout=subprocess.PIPE, text=True)


def grow(disk: Path, size: int) -> None:
    """Give a small disk more room."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


async def test_callers_wait_for_room_and_nothing_is_lost(home: Path, tmp_path: Path) -> None:
    """Inputs that were acknowledged are kept, the others are taken as soon as there is room, and all have their results."""
    async with platform(home) as running:
        client = start(running, tmp_path / "go")
        await until(lambda: said(running, "no space left on device"), timeout=60)
        await until(lambda: said(running, "is full: nothing more is taken"))
        assert client.poll() is None, "the caller waits"
        store = running.folder.root / "jetstream"
        grow(store, 64 * 2**20 + ROOM)
        await until(lambda: said(running, "there is room on the disk again"))
        (tmp_path / "go").touch()
        out, _ = await anyio.to_thread.run_sync(client.communicate)
        assert client.returncode == 0
        assert json.loads(out) == list(range(120))
