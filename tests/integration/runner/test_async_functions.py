"""Asynchronous functions in real containers."""

import pytest

from afield import serialization
from support.guests import Launcher, payload

pytestmark = pytest.mark.anyio

WAIT = "import asyncio\nasync def f(x):\n    print('on')\n    if x: await asyncio.sleep(100)\n    return x"


async def test_a_coroutine_returns_its_value(launch: Launcher) -> None:
    """A pack of inputs is run in order."""
    guest = await launch("import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x * 2")

    results = await guest.finished(guest.send(*map(payload, range(40))), 40)

    values = [serialization.loads(r.value) for r in results if isinstance(r.value, bytes)]
    assert values == [x * 2 for x in range(40)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise KeyError('k')", "exception"),
        ("import sys; sys.exit(3)", "exit"),
        ("raise KeyboardInterrupt", "exception"),
        ("raise asyncio.CancelledError", "exception"),
        ("asyncio.current_task().cancel(); await asyncio.sleep(1)", "exception"),
        ("return lambda: (_ for _ in ())", "ok"),
        ("import threading; return threading.Lock()", "serialization"),
    ],
)
async def test_what_user_code_raises_ends_the_input_only(launch: Launcher, code: str, kind: str) -> None:
    """Not the event loop, and not the container."""
    guest = await launch(f"import asyncio\nasync def f(x):\n    if x: return x\n    {code}")

    result = await guest.call(0)

    assert (result.error.kind if result.error else result.status) == kind
    assert await guest.value(7) == 7


async def test_a_running_coroutine_is_cancelled(launch: Launcher) -> None:
    """Its task is cancelled, and the container takes the next input."""
    guest = await launch(WAIT)
    token = guest.send(payload(1))
    await guest.until(lambda: guest.stdout)

    guest.cancel(token)

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"
    assert await guest.value(0) == 0


async def test_a_late_coroutine_times_out(launch: Launcher) -> None:
    """A ring without a Cancel means the timeout."""
    guest = await launch(WAIT, timeout=0.1)
    token = guest.send(payload(1))
    await guest.until(lambda: guest.stdout)

    await guest.ring_until(lambda: guest.results(token))

    (result,) = await guest.finished(token)
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert "asyncio.sleep(100)" in result.error.traceback


async def test_only_the_inputs_named_are_cancelled(launch: Launcher) -> None:
    """Inputs of a pack that are not begun are not begun; the others run."""
    guest = await launch(WAIT)
    token = guest.send(payload(1), payload(0), payload(0))
    await guest.until(lambda: guest.stdout)

    guest.cancel(token, 0, 2)

    results = await guest.finished(token, 3)
    assert [r.status for r in results] == ["cancelled", "ok", "cancelled"]


async def test_each_input_has_its_own_context(launch: Launcher) -> None:
    """Context variables do not leak from one input into the next; the current input is known."""
    source = (
        "import contextvars\nfrom afield import _context\nv = contextvars.ContextVar('v', default=0)\n"
        "async def f():\n    v.set(v.get() + 1)\n    return v.get(), _context.current_input_id()"
    )
    guest = await launch(source)

    assert await guest.value() == (1, "in-k3j9x2abcd-0-17-0")
    assert await guest.value() == (1, "in-k3j9x2abcd-0-17-0")


async def test_tasks_left_behind_run_on_and_clean_up_at_the_end(launch: Launcher) -> None:
    """Stop cancels them, and waits for their cleaning up."""
    source = (
        "import asyncio\nasync def late():\n    try: await asyncio.sleep(1000)\n    finally: print('cleaned')\n"
        "async def f():\n    global t\n    t = asyncio.create_task(late())"
    )
    guest = await launch(source)
    await guest.call()

    info = await guest.stop()

    assert info.exit_code == 0
    assert guest.stdout == "cleaned\n"


async def test_sys_exit_in_a_task_of_its_own_ends_the_container(launch: Launcher) -> None:
    """As it ends any other asyncio program."""
    source = (
        "import asyncio, sys\nasync def bad(): sys.exit(9)\n"
        "async def f():\n    asyncio.create_task(bad())\n    await asyncio.sleep(100)"
    )
    guest = await launch(source)

    guest.send(payload())

    assert (await guest.ended()).exit_code == 9


async def test_stop_lets_a_running_pack_finish(launch: Launcher) -> None:
    """What runs ends in its result before the container goes."""
    guest = await launch("import asyncio\nasync def f(x):\n    print('on')\n    await asyncio.sleep(x)")
    token = guest.send(payload(0.05), payload(0.05))
    await guest.until(lambda: guest.stdout)

    info = await guest.stop()

    assert info.exit_code == 0
    assert len(guest.results(token)) == 2
