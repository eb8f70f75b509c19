"""What Linux tells of processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from afield._guest import processes

TREE = "import subprocess, time; subprocess.Popen(['sleep', '100']); print('on', flush=True); time.sleep(100)"


@pytest.fixture
def parent() -> Iterator[int]:
    """A process with one child."""
    with subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)


def test_children_and_descendants(parent: int) -> None:
    """A process comes before what descends from it."""
    (child,) = processes.children(parent)

    assert processes.descendants([parent]) == [parent, child]


def test_a_thread_that_has_just_ended_hides_no_children(parent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the other threads are still found."""
    found = processes.children(parent)
    monkeypatch.setattr(os, "listdir", lambda _folder: ["999999999", str(parent)])

    assert processes.children(parent) == found != []


def test_kernels_without_the_list_of_children(parent: int) -> None:
    """All processes are looked at then."""
    assert [child for child, of in processes._parents() if of == parent] == processes.children(parent)


def test_a_process_that_is_gone_has_no_children() -> None:
    """And can be sent signals in vain."""
    with subprocess.Popen(["true"]) as process:
        pass

    assert processes.children(process.pid) == []
    processes.signal_all([process.pid], signal.SIGTERM)


def test_a_process_whose_parent_is_gone_dies_at_once() -> None:
    """The parent may have ended before the kernel was told."""
    code = "from afield._guest.processes import die_with; die_with(1 << 22); print('alive')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
