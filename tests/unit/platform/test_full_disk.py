"""A full disk under nats-server."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afield_platform import full_disk
from afield_platform.full_disk import FullDisk

LINE = b"[7] [ERR] Filestore [IN_0] Critical write error: write 7.blk: no space left on device"


def test_it_waits_for_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server is started anew once, when there is room, however often it complained."""
    free = [0]
    later: list[Callable[[], None]] = []
    notes: list[str] = []
    restarts: list[int] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    reactor: Any = SimpleNamespace(call_later=lambda _, callback: later.append(callback))
    disk = FullDisk(reactor, tmp_path, notes.append, lambda: restarts.append(1))
    disk.heard(b"[7] [INF] Server is ready")
    assert not later
    for _ in range(5):
        disk.heard(LINE)
    assert len(later) == len(notes) == 1
    later.pop()()
    assert not restarts
    free[0] = full_disk.ROOM
    later.pop()()
    assert restarts == [1]
    assert "is full" in notes[0]
    disk.heard(LINE)  # again, later: room is there at once
    assert restarts == [1, 1]
