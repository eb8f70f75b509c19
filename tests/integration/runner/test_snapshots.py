"""Snapshots: containers that fork from one that has loaded its code already."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from afield._errors import from_error_info
from afield._guest import processes
from afield._wire.functions import MethodSpec, Resources, Scaling
from afield._wire.guest import Cancel, Notice, StartFailed
from afield_worker.runners import snapshots
from afield_worker.runners.process import ProcessRunner
from support.guests import DAEMON, Guest, Launcher, alive, launching, make_start, payload
from support.waiting import until

pytestmark = pytest.mark.anyio

SLOW = """
import os, random, sys, time
print('entering')
time.sleep(3)
MADE_BY, MADE_AT = os.getpid(), time.time()
random.seed(1)
def f(): return MADE_BY, MADE_AT, os.getpid(), random.random()
"""
"""Takes three seconds to load, and tells who did."""

QUICK = SLOW.replace("time.sleep(3)", "")


@pytest.fixture
async def runner(anyio_backend: object) -> AsyncIterator[ProcessRunner]:
    """A runner without snapshots of other tests."""
    async with ProcessRunner() as runner:
        yield runner


def snapshot_of(guest: Guest) -> int:
    """Return the process that a container was forked from."""
    stat = Path(f"/proc/{guest.container.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def home_of(guest: Guest) -> Path:
    """Return the folder that a container works in."""
    return Path(f"/proc/{guest.container.pid}/cwd").resolve()


def write(file: Path, text: str) -> None:
    """Write a file; for asynchronous tests too, whose loop it may block."""
    file.write_text(text)


def there(folder: Path) -> bool:
    """Tell whether a folder is there; as above."""
    return folder.is_dir()


async def test_the_second_container_is_a_fork_of_the_first(launch: Launcher) -> None:
    """What takes long is done once; the two are processes of their own, with random numbers of their own."""
    first = await launch(SLOW, snapshot=True)
    await first.started()
    second = await launch(SLOW, snapshot=True)
    await second.started()
    print(f"second container ready after {1000 * second.ready_s():.0f} ms")

    made, other = await first.value(), await second.value()

    assert made[:2] == other[:2]
    assert len({made[0], made[2], other[2]}) == 3
    assert made[3] != other[3]
    assert (first.stdout, second.stdout) == ("entering\n", "")
    assert other[2] == second.container.pid


async def test_starts_wait_for_a_snapshot_in_the_making(launch: Launcher) -> None:
    """Of several starts at once only the first loads the code."""
    guests: list[Guest] = []

    async def start() -> None:
        guests.append(await launch(SLOW.replace("3", "0.5"), snapshot=True))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(start)

    assert len({(await guest.value())[0] for guest in guests}) == 1


async def test_each_container_has_its_own_environment_and_folder(launch: Launcher) -> None:
    """Variables, working folder and the file for output are those of the container; what the snapshot wrote is there."""
    source = (
        "import os\nfrom pathlib import Path\nPath('model').write_text('weights')\n"
        "def f():\n    print('here', os.environ['AFIELD_CONTAINER_ID'])\n    import late\n"
        "    return os.environ['WHO'], os.getcwd(), Path('model').read_text(), late.x, Path(__file__).exists()"
    )
    for who in "ab":
        guest = await launch(source, snapshot=True, worker_env={"WHO": who})
        await guest.started()
        home = home_of(guest)
        write(home / "late.py", f"x = {who!r}")
        assert await guest.value() == (who, str(home), "weights", who, True)
        assert guest.stdout == f"here {guest.container.id}\n"


async def test_errors_of_forks_name_files_as_others_do(launch: Launcher) -> None:
    """The caller sees its own files, wherever the snapshot was loaded from."""
    for _ in range(2):
        guest = await launch("def f(): 1 / 0", snapshot=True)
        info = (await guest.call()).error
        assert info is not None

        error = from_error_info(info, function_name="f", local_root="/at/home")

        assert traceback.extract_tb(error.__traceback__)[-1].filename == "/at/home/app.py"


async def test_coroutines_fork_too(launch: Launcher) -> None:
    """The event loop is made behind the fork."""
    source = "import os, asyncio\nBY = os.getpid()\nasync def f():\n    await asyncio.sleep(0)\n    return BY, os.getpid()"
    guests = [await launch(source, snapshot=True, is_async=True) for _ in range(3)]

    values = [await guest.value() for guest in guests]

    assert len({by for by, _ in values}) == 1
    assert len({pid for _, pid in values}) == 3


async def test_what_user_code_opened_and_set_before_stays(launch: Launcher) -> None:
    """Open files, signal handlers and log handlers work in every fork."""
    source = (
        "import logging, signal, sys, tempfile\n"
        "held = tempfile.TemporaryFile()\nheld.write(b'kept'); held.flush()\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
        "caught = []\nsignal.signal(signal.SIGTERM, lambda *_: caught.append(1))\n"
        "def f():\n    import os\n    logging.warning('logged')\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return os.pread(held.fileno(), 10, 0), caught"
    )
    for _ in range(2):
        guest = await launch(source, snapshot=True)
        assert await guest.value() == (b"kept", [1])
        assert guest.stdout == "logged\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, name='pump', daemon=True).start()", "pump"),
        ("import subprocess\nchild = subprocess.Popen(['sleep', '1000'])", "child process"),
        (
            "import sys, types\nsys.modules['torch'] = torch = types.ModuleType('torch')\n"  # noqa: ISC004
            "torch.cuda = types.SimpleNamespace(is_initialized=lambda: True)",
            "CUDA",
        ),
        ("import os\nos.close(min(fd for fd in map(int, os.listdir('/proc/self/fd')) if fd >= 900))", "control socket"),
    ],
    ids=["threads", "children", "cuda", "closed"],
)  # fmt: skip
async def test_what_cannot_be_forked_falls_back(launch: Launcher, source: str, reason: str) -> None:
    """Its user is told why, and the containers are ordinary ones."""
    source += "\nimport os\nBY = os.getpid()\ndef f(): return BY == os.getpid()"
    for _ in range(2):
        guest = await launch(source, snapshot=True)
        assert await guest.value()
        notices = [frame.text for frame in guest.frames if isinstance(frame, Notice)]
        if reason != "control socket":  # which is not remembered: the next may keep it
            assert len(notices) == (guest is launch.guests[0])
        if notices:
            assert reason in notices[0]


async def test_threads_that_were_joined_do_no_harm(launch: Launcher) -> None:
    """A pool that was shut down has left no trace."""
    source = (
        "import os\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(abs, range(100)))\nBY = os.getpid()\ndef f(): return BY"
    )
    guests = [await launch(source, snapshot=True) for _ in range(2)]

    assert await guests[0].value() == await guests[1].value()


async def test_a_failing_start_is_told_and_tried_again(launch: Launcher, tmp_path: Path) -> None:
    """The error is the user's own; the next container tries to be a snapshot again."""
    source = f"import os\nif not os.path.exists({str(tmp_path / 'ok')!r}): raise ValueError('not yet')\nBY = os.getpid()\ndef f(): return BY"
    failing = await launch(source, snapshot=True)
    frame = await failing.started()
    assert isinstance(frame, StartFailed)
    assert "not yet" in frame.error.message
    await failing.ended()
    (tmp_path / "ok").touch()

    values = [await (await launch(source, snapshot=True)).value() for _ in range(2)]

    assert values[0] == values[1]


async def test_a_kill_while_the_snapshot_is_made_ends_it(launch: Launcher) -> None:
    """The container ends, nothing of it stays, and the next one starts."""
    guest = await launch("import time\ntime.sleep(1000)\ndef f(): pass", snapshot=True)
    pid = guest.container.pid

    guest.container.kill("enough")

    assert "enough" in (await guest.ended()).reason
    assert not alive(pid)
    assert len(await (await launch(QUICK, snapshot=True)).value()) == 4


async def test_the_timeout_of_an_input_interrupts_it(launch: Launcher) -> None:
    """Rings and cancellations reach a fork as they reach others."""
    source = "import time\ndef f():\n    print('on')\n    time.sleep(1000)"
    await (await launch(source, snapshot=True)).started()
    guest = await launch(source, snapshot=True)
    token = guest.send(payload())
    await guest.until(lambda: guest.stdout)

    guest.container.send(Cancel(token=token))
    guest.container.interrupt()

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"


async def test_a_fork_that_user_code_makes_lets_go_of_everything(launch: Launcher) -> None:
    """As in an ordinary container: neither the link nor the output is held by a child."""
    source = (
        "import os\ndef f():\n    before = len(os.listdir('/proc/self/fd'))\n    pid = os.fork()\n"
        "    if pid == 0: os._exit(before - len(os.listdir('/proc/self/fd')))\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    ordinary = await (await launch(source)).value()
    await (await launch(source, snapshot=True)).started()

    assert await (await launch(source, snapshot=True)).value() == ordinary


async def test_a_fork_holds_no_descriptor_more_than_another_container(launch: Launcher) -> None:
    """Neither the snapshot's sockets nor those of its other containers, however many there were."""
    source = "import os\ndef f(): return len(os.listdir('/proc/self/fd'))"
    ordinary = await (await launch(source)).value()

    counts = [await (await launch(source, snapshot=True)).value() for _ in range(5)]

    assert counts == [ordinary] * 5


@pytest.mark.parametrize("how", ["crash", "kill"])
async def test_what_a_fork_left_running_dies_with_it(launch: Launcher, how: str) -> None:
    """Subprocesses, forks and daemons; its siblings live on."""
    sibling, guest = await launch(DAEMON, snapshot=True), await launch(DAEMON, snapshot=True)
    kept = await sibling.value("stay")
    guest.send(payload(how))
    await guest.until(lambda: guest.stdout.endswith("\n"))
    if how == "kill":
        guest.container.kill()

    info = await guest.ended()

    pids = [int(word) for word in guest.stdout.split()]
    assert [pid for pid in pids if alive(pid)] == []
    assert [pid for pid in kept if not alive(pid)] == []
    assert (info.signal == signal.SIGKILL) == (how == "kill")


@pytest.mark.parametrize("victim", ["snapshot", "template"])
async def test_a_killed_snapshot_takes_its_containers_and_is_replaced(launch: Launcher, victim: str) -> None:
    """All that descends from it is gone when the ends are told, and the next start makes another."""
    guests = [await launch(DAEMON, snapshot=True) for _ in range(2)]
    pids = [pid for guest in guests for pid in await guest.value("stay")]
    old = snapshot_of(guests[1])

    os.kill(old if victim == "snapshot" else launch.runner.template_pid, signal.SIGKILL)

    for guest in guests:
        assert victim in (await guest.ended()).platform
    assert [pid for pid in [old, *pids] if alive(pid)] == []
    again = await launch(DAEMON, snapshot=True)
    await again.started()
    assert snapshot_of(again) != old


async def test_a_new_version_has_a_snapshot_of_its_own(launch: Launcher) -> None:
    """That of the old one ends when its last container has gone."""
    old = await launch(QUICK, snapshot=True)
    await old.started()
    process = snapshot_of(old)

    new = await launch(QUICK, snapshot=True, version=2)

    assert (await new.value())[0] != (await old.value())[0]
    assert alive(process)
    await old.stop()
    await until(lambda: not alive(process))
    assert len(await new.value()) == 4


async def test_the_snapshot_of_a_stopped_app_ends_with_its_containers(launch: Launcher) -> None:
    """And the folder that it was loaded from goes with it."""
    guest = await launch(QUICK, snapshot=True)
    await guest.started()
    process, home = snapshot_of(guest), Path(f"{home_of(guest)}.snapshot")
    assert there(home)

    launch.runner.retire(app_id="ap-1")

    assert len(await guest.value()) == 4
    await guest.stop()
    await until(lambda: not alive(process) and not there(home))


async def test_an_idle_snapshot_stays_for_a_while(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves the next container, and goes when nobody came for long enough."""
    monkeypatch.setattr(snapshots, "LEAST_IDLE_S", 1.0)
    window: dict[str, Any] = {"scaling": Scaling(scaledown_window=0.1), "snapshot": True}
    first = await launch(QUICK, **window)
    made = await first.value()
    process = snapshot_of(first)
    await first.stop()

    second = await launch(QUICK, **window)

    assert (await second.value())[0] == made[0]
    await second.stop()
    await until(lambda: not alive(process))


async def test_the_limit_of_memory_holds_for_each_fork(launch: Launcher) -> None:
    """One that takes too much is killed; its sibling is not."""
    source = "def f(mib): return len(bytearray(mib << 20))"
    limit: dict[str, Any] = {"resources": Resources(memory_limit_mib=200), "snapshot": True}
    sibling, greedy = await launch(source, **limit), await launch(source, **limit)
    await sibling.started()
    greedy.send(payload(1000))

    assert (await greedy.ended()).oom
    assert await sibling.value(1) == 1 << 20


async def test_no_zombie_and_no_descriptor_stays(launch: Launcher) -> None:
    """Thirty containers later the snapshot has no child, and nobody more descriptors than before."""
    keeper = await launch(QUICK, snapshot=True)
    await keeper.started()
    process = snapshot_of(keeper)
    before, held = len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{process}/fd"))

    for _ in range(30):
        guest = await launch(QUICK, snapshot=True)
        guest.container.kill()
        await guest.ended()

    assert processes.children(process) == [keeper.container.pid]
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert len(os.listdir(f"/proc/{process}/fd")) <= held


async def test_the_end_of_the_runner_ends_everything(tmp_path: Path) -> None:
    """The snapshot with its containers, and its folder."""
    async with ProcessRunner() as runner:
        guest = Guest()
        start = make_start(tmp_path / "h", DAEMON, snapshot=True)
        guest.container = await runner.start(start, {}, guest)
        pids = [*await guest.value("stay"), guest.container.pid, snapshot_of(guest), runner.template_pid]

    assert [pid for pid in pids if alive(pid)] == []
    assert guest.exit is not None
    assert not (tmp_path / "h.snapshot").exists()


WORKER = """
import sys, asyncio
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.guests import Guest, make_start, DAEMON
from afield_worker.runners.process import ProcessRunner
async def main():
    async with ProcessRunner() as runner:
        pids = []
        for number in range(2):
            guest = Guest()
            start = make_start(Path({home!r} + str(number)), DAEMON, snapshot=True)
            guest.container = await runner.start(start, {{}}, guest)
            pids += await guest.value("stay")
            stat = Path(f"/proc/{{guest.container.pid}}/stat").read_text()
            pids += [guest.container.pid, int(stat.rpartition(")")[2].split()[1])]
        print(runner.template_pid, *pids, flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("victims", [[], [0], [5]], ids=["worker", "template too", "snapshot too"])
async def test_a_killed_worker_takes_everything_with_it(tmp_path: Path, victims: list[int]) -> None:
    """However the worker went, and with whom."""
    tests = str(Path(__file__).parents[2])
    script = WORKER.format(tests=tests, home=str(tmp_path / "h"))
    async with await anyio.open_process([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as worker:
        assert worker.stdout is not None
        try:
            line = await BufferedByteReceiveStream(worker.stdout).receive_until(b"\n", 1000)
            pids = [int(word) for word in line.split()]
            assert all(map(alive, pids))
        finally:
            worker.kill()
        for victim in victims:
            with suppress(ProcessLookupError):  # its worker's death was quicker
                os.kill(pids[victim], signal.SIGKILL)

        await until(lambda: not any(map(alive, pids)))


async def test_a_start_survives_the_death_of_its_snapshot(tmp_path: Path) -> None:
    """Whoever starts a container while the snapshot dies gets one from the next."""
    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        first = await launch(QUICK, snapshot=True)
        await first.started()
        old = snapshot_of(first)
        os.kill(old, signal.SIGSTOP)  # so that it cannot answer
        guests: list[Guest] = []
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                guests.append(await launch(QUICK, snapshot=True))

            tasks.start_soon(start)
            await anyio.wait_all_tasks_blocked()
            os.kill(old, signal.SIGKILL)

        assert (await guests[0].value())[0] != old


CLASS = """
import os, time, asyncio, afield
app = afield.App('zoo')
@app.cls()
class C:
    @afield.enter(snap=True)
    {word} load(self):
        print('loading')
        time.sleep(3)
        self.seen, self.by, self.at = ['load'], os.getpid(), time.time()
    @afield.enter()
    {word} connect(self):
        print('connecting')
        self.seen.append('connect')
    @afield.exit()
    {word} bye(self): print('bye', *self.seen)
    @afield.method()
    {word} m(self, x):
        self.seen.append(x)
        return self.seen, self.by, self.at, os.getpid()
"""


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_class_enters_once_and_again(launch: Launcher, word: str) -> None:
    """What `enter(snap=True)` made is in every container, made once; `enter()` runs in each, and so does `exit`."""
    is_async = word != "def"
    shape: dict[str, Any] = {"methods": {"m": MethodSpec(is_async=is_async)}, "snapshot": True}
    source = CLASS.format(word=word)
    first = await launch(source, "C", **shape)
    await first.started()
    second = await launch(source, "C", **shape)
    await second.started()
    print(f"second container ready after {1000 * second.ready_s():.0f} ms")

    one, other = await first.value(1, method="m"), await second.value(2, method="m")

    assert (one[0], other[0]) == (["load", "connect", 1], ["load", "connect", 2])
    assert one[1:3] == other[1:3]
    assert len({one[1], one[3], other[3]}) == 3
    for guest in (first, second):
        assert (await guest.stop()).exit_code == 0
    assert first.stdout == "loading\nconnecting\nbye load connect 1\n"
    assert second.stdout == "connecting\nbye load connect 2\n"


async def test_tasks_left_on_the_event_loop_prevent_a_snapshot(launch: Launcher) -> None:
    """A fork would lose them: its user is told, and each container enters on its own."""
    source = CLASS.format(word="async def").replace(
        "time.sleep(3)", "self.pump = asyncio.create_task(asyncio.sleep(1000))"
    )
    shape: dict[str, Any] = {"methods": {"m": MethodSpec(is_async=True)}, "snapshot": True}
    guests = [await launch(source, "C", **shape) for _ in range(2)]

    values = [await guest.value(1, method="m") for guest in guests]

    assert all(by == pid for _, by, _, pid in values)
    assert "tasks" in next(frame.text for frame in guests[0].frames if isinstance(frame, Notice))


async def test_a_failing_second_enter_is_told(launch: Launcher) -> None:
    """With its traceback, by the container that it failed in; the snapshot stays for the next."""
    source = CLASS.format(word="def").replace("time.sleep(3)", "pass").replace("print('connecting')", "1 / 0")
    shape: dict[str, Any] = {"methods": {"m": MethodSpec()}, "snapshot": True}
    for _ in range(2):
        guest = await launch(source, "C", **shape)
        frame = await guest.started()
        assert isinstance(frame, StartFailed)
        assert "ZeroDivisionError" in frame.error.traceback
        await guest.ended()
    assert guest.stdout == ""
