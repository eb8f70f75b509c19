"""Stopping a platform while others are at the same."""

import json
import os
import threading
from pathlib import Path

import pytest

from afield import _launch
from afield._launch import PlatformFolder
from afield.cli import down

PID = 4_000_000
"""More than a process can have."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlatformFolder:
    """The folder of a platform whose supervisor has just ended, held by somebody."""
    monkeypatch.setenv("AFIELD_HOME", str(tmp_path))
    folder = _launch.shared_folder()
    folder.root.mkdir(parents=True)
    return folder


def write_record(folder: PlatformFolder, pid: int) -> None:
    """Say who the supervisor is."""
    (folder.root / "platform.json").write_text(json.dumps({"pid": pid}))


@pytest.mark.parametrize("recorded", [True, False])
def test_somebody_else_clears_it_away(folder: PlatformFolder, *, recorded: bool) -> None:
    """Another `afield down` holds the folder for a moment; that is no other platform."""
    if recorded:
        write_record(folder, PID)
    fd = folder.claim()
    assert fd is not None
    timer = threading.Timer(0.1, os.close, (fd,))
    timer.start()

    assert down._swept(folder, PID)
    timer.join()


def test_another_platform_has_come(folder: PlatformFolder) -> None:
    """It has said who it is, so it is not waited for."""
    fd = folder.claim()
    assert fd is not None
    write_record(folder, PID + 1)

    assert not down._swept(folder, PID)
    os.close(fd)


def test_who_holds_it_is_not_waited_for_without_end(
    folder: PlatformFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one that never says who it is."""
    monkeypatch.setattr(down, "_OTHERS_S", 0.1)
    fd = folder.claim()
    assert fd is not None

    assert not down._swept(folder, PID)
    os.close(fd)
