"""Limits of processor time, by control groups where this host lets us make some, and by pausing."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from afield._wire.functions import Resources
from afield_worker.runners import enforcer
from afield_worker.runners.process import ProcessRunner, ProcessSettings
from afield_worker.runners.throttle import tree_cpu_s
from support.guests import Launcher, payload
from support.waiting import until

pytestmark = pytest.mark.anyio

BURN = """
import os, time
def f(seconds, children=0):
    began, used = time.monotonic(), time.process_time()
    for _ in range(children):
        if os.fork() == 0: break
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass
    return (time.process_time() - used) / (time.monotonic() - began)
"""


@pytest.fixture(params=["cgroup", "pausing"])
async def runner(anyio_backend: object, request: pytest.FixtureRequest) -> AsyncIterator[ProcessRunner]:
    """A runner that enforces limits of processor time in one of two ways."""
    async with ProcessRunner(ProcessSettings(use_cgroups=request.param == "cgroup")) as runner:
        if request.param not in runner.mechanisms["cpu"]:
            pytest.skip(f"no control group for processors can be made here ({runner.mechanisms})")
        yield runner


@pytest.mark.timeout(300)
async def test_a_container_gets_no_more_than_its_limit(launch: Launcher) -> None:
    """A fifth of a core, over two seconds; one at its side gets all that it can, which on a busy host takes some tries."""
    limited: dict[str, Any] = {"resources": Resources(cpu=0.125, cpu_limit=0.2)}
    guest, free = await launch(BURN, **limited), await launch(BURN)

    assert await guest.value(2) < 0.35

    with anyio.fail_after(240):
        while await free.value(2) < 0.35:
            pass


async def test_children_count(launch: Launcher) -> None:
    """Three processes share what their container may use."""
    limited: dict[str, Any] = {"resources": Resources(cpu=0.125, cpu_limit=0.2)}
    guest = await launch(BURN, **limited)
    guest.send(payload(1000, 2))
    await until(lambda: tree_cpu_s(guest.container.pid) > 0.2)
    before, then = tree_cpu_s(guest.container.pid), anyio.current_time()

    await until(lambda: anyio.current_time() > then + 2)

    used = tree_cpu_s(guest.container.pid) - before
    assert used / (anyio.current_time() - then) < 0.4


async def test_a_throttled_container_can_be_killed(launch: Launcher) -> None:
    """However little it gets."""
    guest = await launch(BURN, resources=Resources(cpu=0.01, cpu_limit=0.01))
    guest.send(payload(1000))
    await until(lambda: tree_cpu_s(guest.container.pid) > 0.03)

    guest.container.kill("enough")

    assert "enough" in (await guest.ended()).reason


async def test_processor_time_is_told_at_the_end(launch: Launcher) -> None:
    """In seconds, of all its processes."""
    guest = await launch(
        "import time\ndef f():\n    end = time.process_time() + 0.3\n    while time.process_time() < end: pass"
    )
    await guest.call()

    assert 0.3 <= (await guest.stop()).cpu_s < 30


async def test_a_container_without_limits_gets_its_weight(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment after its start, with the processes that it has by then."""
    if "cpu" not in launch.runner.control_groups:
        pytest.skip("only control groups weigh")
    monkeypatch.setattr(enforcer, "WEIGH_S", 0.0)
    version, folder = launch.runner.control_groups["cpu"]
    source = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\ndef f(): return child.pid"
    guest = await launch(source, resources=Resources(cpu=0.5))
    child = await guest.value()

    group = folder / guest.container.id
    await until(lambda: group.is_dir() and str(child) in (group / "cgroup.procs").read_text().split())

    assert str(guest.container.pid) in (group / "cgroup.procs").read_text().split()
    weight = (group / ("cpu.shares" if version == 1 else "cpu.weight")).read_text().strip()
    assert weight == ("512" if version == 1 else "50")
