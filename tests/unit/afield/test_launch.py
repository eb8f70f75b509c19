"""The folder of a platform: claimed, looked at, swept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from afield import _launch, _marks, config
from afield._launch import PlatformFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlatformFolder:
    """The folder of a private platform to be."""
    monkeypatch.setenv("AFIELD_HOME", str(tmp_path))
    return _launch.new_private_folder()


def test_a_claim_is_exclusive(folder: PlatformFolder) -> None:
    """A claimed folder is alive, and cannot be claimed again until the claim ends."""
    assert not folder.alive()
    fd = folder.claim()
    assert fd is not None
    assert folder.alive()
    assert folder.claim() is None
    os.close(fd)
    assert not folder.alive()


def test_a_held_folder_is_not_swept(folder: PlatformFolder) -> None:
    """Sweeping leaves a platform that is alive as it is."""
    fd = folder.claim()
    assert fd is not None
    _launch.sweep_private()
    assert folder.root.exists()
    os.close(fd)
    _launch.sweep_private()
    assert not folder.root.exists()


def test_sweeping_kills_what_is_left(folder: PlatformFolder) -> None:
    """Processes with the mark of a dead platform are killed; others are not."""
    fd = folder.claim()
    assert fd is not None
    os.close(fd)
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    mark = {_marks.MARK: _launch.platform_id(folder)}
    with (
        subprocess.Popen(sleep, env=mark, stdout=subprocess.PIPE, start_new_session=True) as left,
        subprocess.Popen(sleep, env={_marks.MARK: "another"}, stdout=subprocess.PIPE) as other,
    ):
        for process in (left, other):
            assert process.stdout is not None
            process.stdout.readline()
        assert _launch.sweep(folder)
        assert left.wait(5) == -9
        assert other.poll() is None
        other.kill()


def test_the_shared_platform_keeps_its_files(folder: PlatformFolder) -> None:
    """Sweeping the shared folder removes the record only."""
    shared = _launch.shared_folder()
    config.make_private(shared.root.parent)
    config.make_private(shared.root)
    for name in ("platform.json", "secrets.json"):
        (shared.root / name).write_text("{}")
    assert _launch.sweep(shared)
    assert shared.record() is None
    assert (shared.root / "secrets.json").exists()


def test_ids_differ_by_folder(folder: PlatformFolder, tmp_path: Path) -> None:
    """Two shared platforms of one user, in two homes, have two marks: one cannot sweep the other's processes."""
    other = PlatformFolder(tmp_path / "elsewhere" / "platform")
    assert _launch.platform_id(_launch.shared_folder()) != _launch.platform_id(other)
    assert _launch.platform_id(folder) == folder.root.name


def test_a_start_that_is_stopped_says_so(folder: PlatformFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that ends in order before it is ready was told to, by `afield down`."""
    monkeypatch.setattr(_launch, "supervisor_command", lambda *_: [sys.executable, "-c", ""])

    with pytest.raises(_launch.PlatformError, match="the platform was stopped while it started"):
        _launch.launch(folder, owned=True)
    assert not folder.root.exists()
