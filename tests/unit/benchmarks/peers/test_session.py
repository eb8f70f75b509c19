"""Programs of peers: requests and answers, deadlines, and that nothing is left, whatever they start."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

DRIVER = """
import json, sys
from pathlib import Path
from afield_platform.linux import become_subreaper
from benchmarks.peers.session import ProgramError, running
become_subreaper()
program, log, deadline = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
with running([sys.executable, "-c", program], log=log, slots=3, servers={"PEERS_X": "y"}) as session:
    try:
        print(json.dumps(session.ask({"work": "warm"}, deadline_s=deadline)))
    except ProgramError as error:
        print(json.dumps({"error": str(error)}))
"""

ANSWERS = """
import json, os, sys
for line in sys.stdin:
    answer = {"work": json.loads(line)["work"], "slots": os.environ["PEERS_SLOTS"], "x": os.environ["PEERS_X"]}
    print(json.dumps(answer), flush=True)
"""

ENDS = "import sys; sys.stdin.readline(); sys.exit('there is no port left')"

# Its grandchild leaves session, group and parent behind; the program itself does not heed the end of its input.
LEAVES_A_DAEMON = """
import json, os, subprocess, sys, time
code = "import os, time; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
print(json.dumps({"daemon": int(child.stdout.readline())}), flush=True)
os._exit(0)
"""

HANGS = "import time; time.sleep(600)"


def drive(program: str, log: Path, deadline: float = 30.0) -> dict[str, Any]:
    """Ask a program one thing, in a process of its own, since everything below that is killed."""
    command = [sys.executable, "-c", DRIVER, program, str(log), str(deadline)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=50)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_program_is_asked_and_answers(tmp_path: Path) -> None:
    """It hears how many slots there are and where the servers are."""
    assert drive(ANSWERS, tmp_path / "log") == {"work": "warm", "slots": "3", "x": "y"}


def test_a_program_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    """What it wrote to standard error is in the log, and the end of that in the error."""
    said = drive(ENDS, tmp_path / "log")

    assert said["error"] == "the program ended with status 1: there is no port left"


def test_a_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer by the deadline is an error, and the program does not hold up the end."""
    patched = "import benchmarks.peers.session as s; s.STOP_S = 0.2\n"
    monkeypatch.setattr(sys.modules[__name__], "DRIVER", patched + DRIVER)

    assert drive(HANGS, tmp_path / "log", deadline=0.2) == {"error": "no answer within 0.2 s"}


def test_a_daemon_of_a_program_is_killed(tmp_path: Path) -> None:
    """A process that left its session, its group and its parent is found all the same."""
    said = drive(LEAVES_A_DAEMON, tmp_path / "log")

    assert not psutil.pid_exists(said["daemon"])


@pytest.mark.timeout(180)
def test_the_bare_path_is_measured_from_begin_to_end(tmp_path: Path) -> None:
    """The whole way with a real server: programs, figures, the stored run, nothing left."""
    path = tmp_path / "peers.json"
    with measuring(tmp_path, "--output", str(path), "--work", "nothing", "warm", "map", "nested") as process:
        said, complained = process.communicate(timeout=170)

    assert process.returncode == 0, complained
    stored = json.loads(path.read_text())
    cells = {row["work"]: row["cells"]["bare"] for row in stored["rows"]}
    assert all(cells[work]["median"] > 0 for work in ("nothing", "warm", "map"))
    assert cells["nested"]["na"]
    assert "one warm call, blocking, p50" in said
    assert stored["rounds"] == 1
    assert marked(tmp_path) == []


@pytest.mark.timeout(180)
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a work kills server, responder and program, which do not get it themselves."""
    with measuring(
        tmp_path, "--output", str(tmp_path / "peers.json"), "--work", "nothing", "idle"
    ) as process:
        assert process.stderr is not None
        while "idle" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130
    assert marked(tmp_path) == []


@contextmanager
def measuring(mark: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the quick benchmark of the bare path for the block; `mark` is in the environment of all its processes."""
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--peers", "bare", *options]
    env = {**os.environ, "MARK": str(mark)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def marked(mark: Path) -> list[str]:
    """Return the names of the processes that live with a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == str(mark):
                found.append(process.name())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone, or not ours
    return found
