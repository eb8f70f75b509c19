"""What a container has of its own, and what user code can do without harm to the link."""

import random

import pytest

from support.guests import Launcher, payload

pytestmark = pytest.mark.anyio


async def test_no_descriptor_is_inherited(launch: Launcher) -> None:
    """A container holds its streams and what is the guest's, and nothing of the template or of other containers."""
    others = [await launch("def f(): pass") for _ in range(3)]
    guest = await launch("import os\ndef f(): return sorted(map(int, os.listdir('/proc/self/fd')))")

    descriptors = await guest.value()

    assert descriptors[:3] == [0, 1, 2]
    # The link, the file for a crash, copies of the streams, and the folder while it is listed.
    assert len(descriptors) == 3 + 1 + 1 + 3 + 1
    assert all(other.exit is None for other in others)


async def test_a_container_leads_a_session_and_dies_with_the_template(launch: Launcher) -> None:
    """It has no core dumps, and SIGKILL as the signal of its parent's death."""
    source = (
        "import ctypes, os, resource, signal\ndef f():\n    signum = ctypes.c_int()\n"
        "    ctypes.CDLL(None).prctl(2, ctypes.byref(signum))\n"
        "    return os.getsid(0) == os.getpid(), signum.value, resource.getrlimit(resource.RLIMIT_CORE)[0]"
    )
    guest = await launch(source)

    assert await guest.value() == (True, 9, 0)


async def test_signals_are_as_in_any_program(launch: Launcher) -> None:
    """The template's handlers are gone."""
    source = (
        "import signal as s\ndef f(): return [s.getsignal(n) for n in (s.SIGTERM, s.SIGCHLD)], "
        "s.getsignal(s.SIGINT) is s.default_int_handler, s.set_wakeup_fd(-1)"
    )
    guest = await launch(source)

    assert await guest.value() == ([0, 0], True, -1)


async def test_random_numbers_differ_between_containers(launch: Launcher) -> None:
    """Although they are forked from one state."""
    source = "import random, uuid, tempfile\ndef f(): return random.random(), uuid.uuid4(), tempfile.mktemp()"
    first, second = await launch(source), await launch(source)

    assert not set(await first.value()) & set(await second.value())
    assert random.random() not in await first.value()


async def test_the_environment_is_the_functions_and_the_workers(launch: Launcher) -> None:
    """The worker's values go over the user's, and its own settings are not among them."""
    source = (
        "import os, time\ndef f(): return dict(os.environ), time.tzname[0], os.popen('echo $MINE').read()"
    )
    guest = await launch(
        source,
        worker_env={"AFIELD_SERVER": "nats://x"},
        env={"MINE": "1", "TZ": "XYZ-3", "AFIELD_SERVER": "no"},
    )

    env, zone, echoed = await guest.value()

    assert (env["MINE"], env["AFIELD_SERVER"], zone, echoed) == ("1", "nats://x", "XYZ", "1\n")
    assert env["AFIELD_CONTAINER_ID"] == guest.container.id
    assert "AFIELD_TEMPLATE_FD" not in env


async def test_the_path_of_the_environment_is_searched(launch: Launcher) -> None:
    """PYTHONPATH works as it does at an interpreter's start."""
    (launch.folder / "extra_module_of_test.py").write_text("X = 3")
    guest = await launch(
        "import extra_module_of_test as m\ndef f(): return m.X", env={"PYTHONPATH": str(launch.folder)}
    )

    assert await guest.value() == 3


async def test_a_fork_of_user_code_that_returns_does_not_touch_the_link(launch: Launcher) -> None:
    """The child that falls out of the function ends; only the parent's value is sent."""
    source = (
        "import os\ndef f():\n    pid = os.fork()\n    if pid == 0: return 'child'\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    guest = await launch(source)

    assert await guest.value() == 0
    assert await guest.value() == 0


@pytest.mark.parametrize(("code", "status"), [("raise KeyError", 1), ("import sys; sys.exit(7)", 7)])
@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_fork_of_user_code_that_raises_exits_as_a_program(
    launch: Launcher, word: str, code: str, status: int
) -> None:
    """With the status that the interpreter would give."""
    source = (
        f"import os\n{word} f():\n    pid = os.fork()\n    if pid == 0:\n        {code}\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    guest = await launch(source)

    assert await guest.value() == status


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_multiprocessing_works(launch: Launcher, method: str) -> None:
    """With any start method: children import the entry module under its own name."""
    source = (
        "import multiprocessing as mp\ndef double(x): return x * 2\n"
        "def f(method):\n    with mp.get_context(method).Pool(2) as pool: return pool.map(double, range(5))"
    )
    guest = await launch(source)

    assert await guest.value(method) == [0, 2, 4, 6, 8]
    assert await guest.value(method) == [0, 2, 4, 6, 8]
    assert (await guest.stop()).exit_code == 0


async def test_an_event_loop_of_the_users_own_works(launch: Launcher) -> None:
    """Synchronous functions run with no loop in the way, subprocesses of asyncio included."""
    source = (
        "import asyncio\nasync def run():\n    p = await asyncio.create_subprocess_exec('true')\n"
        "    return await p.wait()\ndef f(): return asyncio.run(run())"
    )
    guest = await launch(source)

    assert await guest.value() == 0


async def test_asynchronous_functions_may_start_subprocesses(launch: Launcher) -> None:
    """And run things in threads."""
    source = (
        "import asyncio\nasync def f():\n    p = await asyncio.create_subprocess_exec('true')\n"
        "    return await p.wait() + await asyncio.to_thread(int, '1')"
    )
    guest = await launch(source)

    assert await guest.value() == 1


async def test_threads_of_user_code_do_not_disturb(launch: Launcher) -> None:
    """They print and compute on while inputs are run and cancelled."""
    source = (
        "import threading, time\ndef spin():\n    while True: sum(range(1000))\n"
        "for _ in range(2): threading.Thread(target=spin, daemon=True).start()\ndef f(x): time.sleep(x)"
    )
    guest = await launch(source)
    await guest.call(0)
    token = guest.send(payload(1000))

    guest.cancel(token)

    assert (await guest.finished(token))[0].status == "cancelled"


async def test_garbage_is_collected(launch: Launcher) -> None:
    """The template collects none, its containers do."""
    guest = await launch("import gc\ndef f(): return gc.isenabled(), gc.get_freeze_count() > 1000")

    assert await guest.value() == (True, True)
