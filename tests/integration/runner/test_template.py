"""The template process, and the runner that keeps it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from afield._wire.functions import Resources
from afield_worker.runners.base import RunnerError
from afield_worker.runners.process import ProcessRunner, ProcessSettings
from support.guests import DAEMON, Guest, Launcher, alive, launching, make_start, payload
from support.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_killed_template_takes_its_containers_and_is_replaced(tmp_path: Path) -> None:
    """All that descends from it is gone when the ends are told, and the next start has a new one."""
    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        guest, other = await launch(DAEMON), await launch("def f(): pass")
        await other.started()
        pids = await guest.value("stay")
        old = runner.template_pid

        os.kill(old, signal.SIGKILL)

        info = await guest.ended()
        assert [pid for pid in pids if alive(pid)] == []
        assert "template" in info.platform
        assert (await other.ended()).signal == signal.SIGKILL
        assert await (await launch("def f(): return 1")).value() == 1
        assert runner.template_pid != old


async def test_a_start_survives_the_death_of_the_template(tmp_path: Path) -> None:
    """Whoever starts a container while the template dies gets one from the next."""
    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        await launch("def f(): pass")
        os.kill(runner.template_pid, signal.SIGSTOP)  # so that it cannot answer
        guests = []
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                guests.append(await launch("def f(): return 1"))

            tasks.start_soon(start)
            await anyio.wait_all_tasks_blocked()
            os.kill(runner.template_pid, signal.SIGKILL)

        assert await guests[0].value() == 1


async def test_the_end_of_the_runner_ends_everything(tmp_path: Path) -> None:
    """Containers are reported, and no process is left."""
    async with ProcessRunner() as runner:
        guest = Guest()
        guest.container = await runner.start(make_start(tmp_path / "h", DAEMON), {}, guest)
        pids = [*await guest.value("stay"), guest.container.pid, runner.template_pid]

    assert [pid for pid in pids if alive(pid)] == []
    assert guest.exit is not None
    assert guest.exit.reason == "was killed: the worker ends"


async def test_a_template_that_cannot_run_is_an_error_of_the_runner(tmp_path: Path) -> None:
    """The error says what became of it."""
    async with ProcessRunner(ProcessSettings(python="/bin/false")) as runner:
        with pytest.raises(RunnerError, match="ended with exit code 1"):
            await runner.start(make_start(tmp_path / "h", ""), {}, Guest())


async def test_an_interpreter_that_is_not_there_is_an_error_of_the_runner(tmp_path: Path) -> None:
    """The deadline of the start bounds how long it is looked for."""
    async with ProcessRunner(ProcessSettings(python="/no/python", start_timeout=0.2)) as runner:
        with pytest.raises(RunnerError, match="/no/python"):
            await runner.start(make_start(tmp_path / "h", ""), {}, Guest())


async def test_a_cancelled_start_leaves_no_container(tmp_path: Path) -> None:
    """The fork that comes too late is killed."""
    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        await launch("def f(): pass")
        template = runner.template_pid
        os.kill(template, signal.SIGSTOP)
        with anyio.move_on_after(0.05):
            await launch("import time\ntime.sleep(1000)")

        os.kill(template, signal.SIGCONT)

        assert await (await launch("def f(): return 1")).value() == 1
        children = Path(f"/proc/{template}/task/{template}/children")
        await until(lambda: len(children.read_text().split()) == 2)


async def test_many_containers_start_at_once(launch: Launcher) -> None:
    """Each gets descriptors of its own."""
    guests = []

    async def start(number: int) -> None:
        guests.append((number, await launch(f"def f(): return {number}")))

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(start, number)

    for number, guest in guests:
        assert await guest.value() == number


WORKER = """
import sys, asyncio
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.guests import Guest, make_start, DAEMON
from afield_worker.runners.process import ProcessRunner
async def main():
    async with ProcessRunner() as runner:
        guest = Guest()
        guest.container = await runner.start(make_start(Path({home!r}), DAEMON), {{}}, guest)
        pids = [runner.template_pid, guest.container.pid, *await guest.value("stay")]
        print(*pids, flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_a_killed_worker_takes_everything_with_it(tmp_path: Path) -> None:
    """The template notices, however the worker went."""
    tests = str(Path(__file__).parents[2])
    script = WORKER.format(tests=tests, home=str(tmp_path / "h"))
    async with await anyio.open_process([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as worker:
        assert worker.stdout is not None
        pids = [int(word) for word in (await worker.stdout.receive()).split()]
        assert all(map(alive, pids))

        worker.kill()

        await until(lambda: not any(map(alive, pids)))


async def test_a_limit_of_memory_is_enforced(launch: Launcher) -> None:
    """A container that takes too much is killed, and the end says so; children count."""
    source = (
        "import os, time\ndef f():\n    if os.fork() == 0:\n        x = bytearray(300_000_000)\n        time.sleep(1000)\n"
        "    os.wait()"
    )
    guest = await launch(source, resources=Resources(memory_limit_mib=200))
    guest.send(payload())

    info = await guest.ended()

    assert info.oom
    assert "its limit is 200 MiB" in info.reason


async def test_pages_that_forks_share_count_once(launch: Launcher) -> None:
    """Forks of a large process are not taken for many large processes."""
    source = (
        "import os, time\nx = bytearray(100_000_000)\n"
        "def f():\n    pids = [os.fork() for _ in range(1)]\n    if 0 in pids: time.sleep(1000)\n"
        "    time.sleep(0.5)\n    return sum(os.path.exists(f'/proc/{pid}') for pid in pids)"
    )
    guest = await launch(source, resources=Resources(memory_limit_mib=170))

    assert await guest.value() == 1
