"""afield_common.clock: the fake clock wakes sleepers when it is moved, and only then."""

import anyio
import pytest

from afield_common.clock import ManualClock, SystemClock


@pytest.mark.anyio
async def test_manual_clock_wakes_who_is_due() -> None:
    """A sleeper wakes once its whole time has passed, however many steps that took."""
    clock, woken = ManualClock(), anyio.Event()

    async def sleeper() -> None:
        await clock.sleep(10)
        woken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await anyio.wait_all_tasks_blocked()
        clock.advance(9)
        await anyio.wait_all_tasks_blocked()
        assert not woken.is_set()
        clock.advance(1)
        await woken.wait()


def test_system_clock_goes_forward() -> None:
    """Two looks at the monotonic clock are in order, and Unix time is past 2020."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.time() > 1_577_836_800
