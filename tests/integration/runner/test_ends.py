"""How containers end, and that nothing stays behind."""

import os
import signal

import pytest

from afield._guest import processes
from afield_worker.runners import memory
from support.guests import DAEMON, Launcher, alive, payload
from support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("code", "exit_code", "signum"),
    [
        ("os._exit(5)", 5, None),
        ("os.kill(os.getpid(), signal.SIGSEGV)", None, signal.SIGSEGV),
        ("os.abort()", None, signal.SIGABRT),
        ("import ctypes; ctypes.string_at(0)", None, signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGKILL)", None, signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", None, signal.SIGTERM),
    ],
)
async def test_a_crash_is_told_by_code_or_signal(
    launch: Launcher, code: str, exit_code: int | None, signum: int | None
) -> None:
    """The end says which, and that it was not for memory."""
    guest = await launch(f"import os, signal\ndef f(): {code}")
    guest.send(payload())

    info = await guest.ended()

    assert (info.exit_code, info.signal, info.oom) == (exit_code, signum, False)
    assert info.peak_kib > 1000
    assert str(exit_code if signum is None else int(signum)) in info.reason


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_segmentation_fault_leaves_the_users_frames(launch: Launcher, word: str) -> None:
    """The log shows where user code crashed, and nothing of the guest."""
    guest = await launch(f"import ctypes\ndef crash(): ctypes.string_at(0)\n{word} f(): crash()")
    guest.send(payload())

    await guest.ended()

    head, *frames = guest.stderr.splitlines()
    assert head == "Fatal Python error: Segmentation fault"
    assert [frame.rpartition(" in ")[2] for frame in frames] == ["string_at", "crash", "f"]


async def test_a_crash_in_a_fork_of_user_code_is_told_too(launch: Launcher) -> None:
    """At once, by the fork itself; its container lives on."""
    source = (
        "import ctypes, os\ndef f():\n    pid = os.fork()\n    if pid == 0: ctypes.string_at(0)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    guest = await launch(source)

    assert await guest.value() == -signal.SIGSEGV
    await guest.until(lambda: "app.py" in guest.stderr)
    assert (await guest.stop()).exit_code == 0


async def test_results_sent_before_a_crash_arrive_before_the_end(launch: Launcher) -> None:
    """The link is read to its end first."""
    guest = await launch("import os\ndef f(x): return os._exit(1) if x else b'y' * 200_000")
    tokens = [guest.send(payload(0)) for _ in range(5)]
    guest.send(payload(1))

    await guest.ended()

    assert all(guest.results(token) for token in tokens)


async def test_stop_runs_exit_hooks(launch: Launcher) -> None:
    """The container ends with status 0, whatever threads it has."""
    source = (
        "import atexit, threading\natexit.register(print, 'bye')\n"
        "def f(): threading.Thread(target=threading.Event().wait).start()"
    )
    guest = await launch(source)
    await guest.call()

    info = await guest.stop()

    assert (info.exit_code, guest.stdout) == (0, "bye\n")


async def test_stop_lets_what_runs_finish(launch: Launcher) -> None:
    """The running pack ends in its results; what is queued behind it is not begun."""
    guest = await launch("import time\ndef f(x):\n    print('on')\n    time.sleep(x)")
    running, queued = guest.send(payload(0.05), payload(0.05)), guest.send(payload(0))
    await guest.until(lambda: guest.stdout)

    await guest.stop()

    assert len(guest.results(running)) == 2
    assert not guest.results(queued)


async def test_kill_says_why(launch: Launcher) -> None:
    """The reason given is part of the end."""
    guest = await launch(
        "def f():\n    while True:\n        try: print('on', flush=True)\n        except BaseException: pass"
    )
    guest.send(payload())
    await guest.until(lambda: guest.stdout)

    guest.container.kill("it took too long")

    info = await guest.ended()
    assert (info.signal, info.reason) == (signal.SIGKILL, "was killed: it took too long")


async def test_a_kill_while_the_host_lacks_memory_is_not_certain(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel counts victims of any limit on the host: the input is not blamed, and the reason tells of it."""
    guest = await launch("def f(): pass")
    kills = memory.oom_kills()
    monkeypatch.setattr(memory, "oom_kills", lambda: kills + 1)

    os.kill(guest.container.pid, signal.SIGKILL)

    info = await guest.ended()
    assert not info.oom
    assert "lack of memory" in info.reason


@pytest.mark.parametrize("how", ["crash", "stop", "kill"])
async def test_what_a_container_left_running_dies_with_it(launch: Launcher, how: str) -> None:
    """Subprocesses, forks, and daemons with a session of their own are gone when the end is told."""
    guest = await launch(DAEMON)
    guest.send(payload(how))
    await guest.until(lambda: guest.stdout.endswith("\n"))
    if how == "kill":
        guest.container.kill()
    elif how == "stop":
        await guest.stop()

    await guest.ended()

    pids = [int(word) for word in guest.stdout.split()]
    assert [pid for pid in pids if alive(pid)] == []


async def test_the_daemons_of_another_container_live_on(launch: Launcher) -> None:
    """Only those of the container that ended are taken for leftovers."""
    keeper, leaver = await launch(DAEMON), await launch(DAEMON)
    pids = await keeper.value("stay")
    await leaver.value("stay")

    await leaver.stop()

    assert [pid for pid in pids if not alive(pid)] == []


async def test_a_container_that_closes_its_link_is_killed(launch: Launcher) -> None:
    """No input would ever end in it."""
    guest = await launch("import os, time\ndef f():\n    os.closerange(3, 4096)\n    time.sleep(1000)")
    guest.send(payload())

    info = await guest.ended()

    assert info.signal == signal.SIGKILL
    assert "link" in info.reason


async def test_a_container_that_becomes_another_program_is_killed(launch: Launcher) -> None:
    """The link does not survive an exec."""
    guest = await launch("import os\ndef f(): os.execvp('sleep', ['sleep', '1000'])")
    guest.send(payload())

    info = await guest.ended()

    assert "link" in info.reason


async def test_a_frame_that_is_none_ends_the_container(launch: Launcher) -> None:
    """User code that writes into the link harms itself only."""
    source = "import os\ndef f():\n    for fd in range(3, 4096):\n        try: os.write(fd, b'\\xff' * 100)\n        except OSError: pass"
    guest = await launch(source)
    guest.send(payload())

    info = await guest.ended()

    assert "its link broke" in info.reason


async def test_the_peak_of_memory_is_known(launch: Launcher) -> None:
    """While it lives, and at its end."""
    guest = await launch("def f(): return len(bytearray(100_000_000))")
    await guest.call()

    assert guest.container.peak_kib > 90_000
    assert (await guest.stop()).peak_kib > 90_000


async def test_no_zombie_and_no_descriptor_stays(launch: Launcher) -> None:
    """Fifty containers later the template has no child, and this process no more descriptors than before."""
    first = await launch("def f(): pass")
    await first.started()
    await first.stop()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(50):
        guest = await launch("def f(): pass")
        guest.container.kill()
        await guest.ended()

    template = launch.runner.template_pid
    assert processes.children(template) == []
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert len(os.listdir(f"/proc/{template}/fd")) < 10
