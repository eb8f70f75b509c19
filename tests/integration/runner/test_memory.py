"""Limits of memory, by control groups where this host lets us make some, and by watching."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from afield._wire.functions import Resources
from afield_worker.runners.process import ProcessRunner, ProcessSettings
from support.guests import Launcher, payload
from support.waiting import until

pytestmark = pytest.mark.anyio

LIMIT: dict[str, Any] = {"resources": Resources(memory_limit_mib=200)}


def existing(folders: list[Path]) -> list[Path]:
    """Return those that are there."""
    return [folder for folder in folders if folder.is_dir()]


@pytest.fixture(params=["cgroup", "watching"])
async def runner(anyio_backend: object, request: pytest.FixtureRequest) -> AsyncIterator[ProcessRunner]:
    """A runner that enforces memory limits in one of two ways."""
    async with ProcessRunner(ProcessSettings(use_cgroups=request.param == "cgroup")) as runner:
        if request.param not in runner.mechanisms["memory"]:
            pytest.skip(f"no control group for memory can be made here ({runner.mechanisms})")
        yield runner


@pytest.mark.parametrize("who", ["leader", "child"])
async def test_a_container_that_takes_too_much_is_killed(launch: Launcher, who: str) -> None:
    """The end says how much it took, and how much it might have; children count, and take the rest along."""
    source = (
        "import os, time\ndef f(child):\n    if child and os.fork(): time.sleep(1000)\n"
        "    held = [bytearray(10_000_000) for _ in range(100)]\n    time.sleep(1000)"
    )
    guest = await launch(source, **LIMIT)
    guest.send(payload(who == "child"))

    info = await guest.ended()

    assert info.oom
    used = int(info.reason.removeprefix("used ").partition(" MiB")[0])
    assert info.reason == f"used {used} MiB, its limit is 200 MiB"
    assert used >= 199
    assert info.peak_kib // 1024 == used


async def test_what_stays_below_the_limit_is_left_alone(launch: Launcher) -> None:
    """Files that it writes do not count against it."""
    source = (
        "def f():\n    with open('file', 'wb') as file:\n        for _ in range(300): file.write(bytes(1 << 20))\n"
        "    return len(bytearray(100 << 20))"
    )
    guest = await launch(source, **LIMIT)

    assert await guest.value() == 100 << 20
    assert not (await guest.stop()).oom


async def test_a_crash_of_a_limited_container_is_no_lack_of_memory(launch: Launcher) -> None:
    """Only what the limit ended is said to be."""
    guest = await launch("import os\ndef f(): os.kill(os.getpid(), 9)", **LIMIT)
    guest.send(payload())

    assert not (await guest.ended()).oom


async def test_the_group_of_a_container_goes_with_it(launch: Launcher) -> None:
    """Whether it ended, was killed, or left something running."""
    if "memory" not in launch.runner.control_groups:
        pytest.skip("this one watches")
    folder = launch.runner.control_groups["memory"].folder
    before = set(folder.iterdir())
    source = "import subprocess\ndef f(): subprocess.Popen(['sleep', '1000'])"
    guests = [await launch(source, **LIMIT) for _ in range(3)]
    for guest in guests:
        await guest.call()
    assert len(set(folder.iterdir()) - before) == 3

    await guests[0].stop()
    for guest in guests[1:]:
        guest.container.kill()
        await guest.ended()

    await until(lambda: set(folder.iterdir()) == before)


async def test_the_groups_of_a_runner_go_with_it() -> None:
    """None of its own is left, and none of a dead one."""
    async with ProcessRunner() as runner:
        folders = [base.folder for base in runner.control_groups.values()]
        assert existing(folders) == folders
    assert existing(folders) == []
