"""`afield run` from nothing: a private platform comes, and goes without a trace."""

import os
import signal
import subprocess
import sys

import pytest

from support.launching import wait_for

from .conftest import PROGRAMS, Cli, until

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def test_from_nothing(fresh: Cli) -> None:
    """A run without a platform starts one, and leaves nothing behind."""
    assert "9 w 0.5" in fresh("run", "one.py").stdout
    fresh.assert_clean([])
    assert not (fresh.home / "state" / "platform").exists()


def test_two_at_once(fresh: Cli) -> None:
    """Two runs at the same time have a platform each, and disturb each other in nothing."""
    runs = [fresh.start("run", "one.py", "--n", n) for n in ("4", "5")]
    said = [run.communicate(timeout=50)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert "16 w" in said[0]
    assert "25 w" in said[1]
    fresh.assert_clean([])


@pytest.mark.parametrize("program", ["remote", "remote_async", "local", "sleep"])
@pytest.mark.parametrize(("signum", "status"), STOPS[:2])
def test_a_signal_ends_all(fresh: Cli, program: str, signum: signal.Signals, status: int) -> None:
    """Ctrl-C and SIGTERM stop the app and the platform; the exit status tells which it was."""
    run = fresh.start("run", f"waiting.py::{program}")
    until(run, "sleeping")
    records = fresh.records()
    run.send_signal(signum)
    rest = run.communicate(timeout=50)[0]
    assert run.returncode == status, rest
    assert "Traceback" not in rest
    assert len(records) == 1
    fresh.assert_clean(records)


MOMENTS = (0.0, 0.02, 0.1, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Seconds from when a program has loaded us: its event loop, the platform, the connection, the app, the first calls."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_while_it_starts(fresh: Cli, moment: float) -> None:
    """Wherever it hits, one is enough."""
    run = fresh.start("run", "waiting.py::sleep")
    # Its first thread comes right after it has begun to listen; before that, it is the interpreter that starts.
    wait_for(lambda: len(os.listdir(f"/proc/{run.pid}/task")) > 1, "the command to listen for signals")
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(moment)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=30)[0]
    assert run.returncode == 130, said
    assert "unhandled" not in said
    fresh.assert_clean([])


def test_ctrl_c_while_a_class_is_made(fresh: Cli) -> None:
    """It is one also where Python makes a RuntimeError of it."""
    assert fresh("run", "interrupted.py", check=130).stderr.split() == ["Interrupted."]
    fresh.assert_clean([])


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_while_a_script_starts(fresh: Cli, moment: float) -> None:
    """As in any Python program: a traceback, and the end of all that it has started."""
    command = [sys.executable, "script.py"]
    script = subprocess.Popen(
        command, env=fresh.env, cwd=PROGRAMS, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    fresh.started.append(script)
    until(script, "begun")
    with pytest.raises(subprocess.TimeoutExpired):
        script.wait(moment)
    script.send_signal(signal.SIGINT)
    said = script.communicate(timeout=30)[0]
    assert script.returncode == -signal.SIGINT, said
    assert said.splitlines()[-1] == "KeyboardInterrupt", said
    assert "Exception ignored" not in said
    fresh.assert_clean([])


def test_impatience(fresh: Cli) -> None:
    """A storm of Ctrl-C ends the command as one does, or at once, but never otherwise; and still nothing stays."""
    run = fresh.start("run", "waiting.py::sleep")
    until(run, "sleeping")
    records = fresh.records()
    while run.poll() is None:
        run.send_signal(signal.SIGINT)
    assert run.returncode == 130
    assert run.stdout is not None
    assert "Traceback" not in run.stdout.read()
    fresh.assert_clean(records)


def test_kill_9(fresh: Cli) -> None:
    """After kill -9 of the command, the platform removes itself."""
    run = fresh.start("run", "waiting.py::sleep")
    until(run, "sleeping")
    records = fresh.records()
    run.kill()
    run.wait()
    fresh.assert_clean(records)


def test_a_reader_that_leaves(fresh: Cli) -> None:
    """With nobody reading its output any more (`| head`), the command ends like others do, and nothing stays."""
    run = fresh.start("run", "waiting.py::chatter", stderr=subprocess.DEVNULL)
    until(run, "line 1")
    records = fresh.records()
    assert run.stdout is not None
    run.stdout.close()
    assert run.wait(50) == 141
    fresh.assert_clean(records)


@pytest.mark.parametrize("role", ["nats-server", pytest.param("worker", marks=pytest.mark.slow)])
def test_a_part_dies_under_the_run(fresh: Cli, role: str) -> None:
    """A run outlives kill -9 of nats-server and of the services: they come back, and no call is lost or done twice."""
    run = fresh.start("run", "waiting.py::steps", "--count", "40")
    until(run, "step 10")
    (record,) = fresh.records()
    os.kill(next(p["pid"] for p in record["processes"] if p["role"] == role), signal.SIGKILL)
    until(run, "step 39")
    assert run.wait(50) == 0
    fresh.assert_clean([record])


def test_the_supervisor_dies_under_the_run(fresh: Cli) -> None:
    """When the platform's supervisor is killed, the run ends with one sentence, and what is left is cleared away."""
    run = fresh.start("run", "waiting.py::steps", "--count", "100000")
    until(run, "step 10")
    (record,) = fresh.records()
    os.kill(record["pid"], signal.SIGKILL)
    rest = run.communicate(timeout=50)[0]
    assert run.returncode == 1
    assert "Error: the platform died while the run used it" in rest
    fresh.assert_clean([record])


def test_a_home_that_cannot_be_written(fresh: Cli) -> None:
    """Without a place for its files, the command says so and how to give it one."""
    del fresh.env["AFIELD_HOME"]
    fresh.env["HOME"] = "/proc/nobody"
    done = fresh("run", "one.py", check=2)
    assert "cannot keep files in /proc/nobody/.local/state/afield" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Set AFIELD_HOME" in done.stderr
    fresh.env["AFIELD_HOME"] = str(fresh.home)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(fresh: Cli, closed: str) -> None:
    """The command works with any of its standard streams closed."""
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    from .conftest import COMMAND, PROGRAMS

    done = subprocess.run(
        [*shell, *COMMAND, "run", "one.py"], env=fresh.env, cwd=PROGRAMS, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    fresh.assert_clean([])
