"""What containers write, and how it reaches the worker."""

from pathlib import Path

import pytest

from afield_worker.runners.process import ProcessRunner
from support.guests import Launcher, launching, payload, read_bytes

pytestmark = pytest.mark.anyio


async def test_output_is_live_and_whole(launch: Launcher) -> None:
    """Text without a newline, binary junk, subprocesses and C-level writes arrive while the input still runs."""
    source = (
        "import os, sys, subprocess, time\ndef f():\n    print('a', end='')\n    sys.stdout.buffer.write(b'\\xff\\x00')\n"
        "    subprocess.run(['sh', '-c', 'printf b; printf e >&2'])\n    os.write(1, b'c')\n"
        "    print('\\udc80', end='')\n    time.sleep(1000)"
    )
    guest = await launch(source)

    guest.send(payload())

    await guest.until(lambda: guest.written == {"stdout": b"a\xff\x00bc\\udc80", "stderr": b"e"})


async def test_drained_output_is_there_before_its_result_is_published(launch: Launcher) -> None:
    """When a result has come, `drain_output` yields all that was written before it."""
    guest = await launch("import os\ndef f(x):\n    os.write(1, b'x' * 100_000)\n    return x")
    guest.container.pause_output()
    await guest.call(1)

    guest.container.drain_output()

    assert len(guest.written["stdout"]) == 100_000


async def test_a_flood_of_output_is_taken_in(launch: Launcher) -> None:
    """A hundred megabytes arrive, unharmed."""
    guest = await launch("import os\ndef f():\n    for _ in range(1600): os.write(1, b'x' * 65536)")

    await guest.call()

    await guest.until(lambda: len(guest.written["stdout"]) == 1600 * 65536)


async def test_a_stream_that_was_made_non_blocking_loses_nothing(launch: Launcher) -> None:
    """As subprocesses do that share it."""
    guest = await launch("import os\ndef f():\n    os.set_blocking(1, False)\n    print('x' * 3_000_000)")

    await guest.call()

    await guest.until(lambda: len(guest.stdout) == 3_000_001)


async def test_pausing_blocks_the_writer_and_loses_nothing(launch: Launcher) -> None:
    """The worker holds no more than the pipe; user code goes on when the worker reads again."""
    guest = await launch(
        "import os\ndef f():\n    print('on', flush=True)\n    os.write(1, b'x' * 3_000_000)"
    )
    token = guest.send(payload())
    await guest.until(lambda: guest.stdout)
    guest.container.pause_output()
    guest.container.drain_output()
    held = len(guest.stdout)
    assert held < 2_000_000
    assert not guest.results(token)

    guest.container.resume_output()

    await guest.finished(token)
    await guest.until(lambda: len(guest.stdout) == 3_000_003)


async def test_a_pipe_can_be_drained_while_it_is_written_to(launch: Launcher) -> None:
    """Draining takes what is there, and does not follow a writer that never ends."""
    guest = await launch("import os\ndef f():\n    while True: os.write(1, b'x' * 65536)")
    guest.send(payload())
    await guest.until(lambda: guest.stdout)

    for _ in range(20):
        guest.container.drain_output()


async def test_what_a_dying_container_wrote_last_is_told_before_its_end(launch: Launcher) -> None:
    """`on_exit` comes when the pipes are dry."""
    guest = await launch("import os\ndef f():\n    print('x' * 200_000)\n    os._exit(3)")
    guest.send(payload())

    await guest.ended()

    assert len(guest.stdout) == 200_001


@pytest.mark.parametrize(
    "closing",
    ["for fd in (0, 1, 2): os.close(fd)", "os.fdopen(1, 'w')", "sys.stdout.close(); sys.stderr.close()"],
)
@pytest.mark.parametrize("word", ["def", "async def"])
async def test_streams_that_user_code_closed_work_for_its_next_input(
    launch: Launcher, word: str, closing: str
) -> None:
    """Those of its own pack included."""
    source = (
        f"import os, sys\n{word} f(x):\n    print('out', x)\n    print('err', x, file=sys.stderr)\n"
        f"    sys.stdin.read()\n    {closing}\n    return x"
    )
    guest = await launch(source)
    results = await guest.finished(guest.send(payload(1), payload(2)), 2)

    assert [result.status for result in results] == ["ok", "ok"]
    assert await guest.value(3) == 3
    assert (await guest.stop()).exit_code == 0
    assert guest.stdout == "out 1\nout 2\nout 3\n"
    assert guest.stderr == "err 1\nerr 2\nerr 3\n"


async def test_user_code_that_closes_the_copies_too_loses_its_output(launch: Launcher) -> None:
    """And nothing else: the container works on."""
    source = (
        "import os\ndef f(x):\n    if x == 1:\n        mine = os.stat(1).st_ino\n"
        "        for fd in range(1, 2000):\n            try:\n"
        "                if os.stat(fd).st_ino == mine: os.close(fd)\n            except OSError: pass\n"
        "    return x"
    )
    guest = await launch(source)

    assert [await guest.value(x) for x in (1, 2, 3)] == [1, 2, 3]
    assert (await guest.stop()).exit_code == 0


async def test_a_fork_of_user_code_can_close_its_streams_for_good(launch: Launcher) -> None:
    """No copy of them is left in it."""
    source = (
        "import os\ndef f():\n    if os.fork() == 0:\n        before = os.stat(1)\n"
        "        for fd in (0, 1, 2): os.close(fd)\n"
        "        os._exit(sum(os.stat(int(n)).st_ino == before.st_ino for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)))\n"
        "    return os.waitstatus_to_exitcode(os.wait()[1])"
    )
    guest = await launch(source)

    assert await guest.value() == 0


async def test_lines_of_c_libraries_are_live(launch: Launcher) -> None:
    """Nobody has to flush for them."""
    guest = await launch(
        "import ctypes, time\ndef f():\n    ctypes.CDLL(None).puts(b'from C')\n    time.sleep(1000)"
    )

    guest.send(payload())

    await guest.until(lambda: guest.stdout == "from C\n")


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_what_c_libraries_wrote_is_there_before_the_result(launch: Launcher, word: str) -> None:
    """With or without a newline, and in the order in which Python and they wrote."""
    source = (
        f"import ctypes\n{word} f():\n    libc = ctypes.CDLL(None)\n    libc.puts(b'line')\n"
        "    print('and', end=' ')\n    libc.printf(b'no line')"
    )
    guest = await launch(source)
    await guest.started()
    guest.container.pause_output()
    await guest.call()

    guest.container.drain_output()

    assert guest.stdout == "line\nand no line"


async def test_c_libraries_have_a_buffer_even_where_python_is_told_to_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Images like to set PYTHONUNBUFFERED, which takes libc its buffer too: each number would be torn into digits."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    source = (
        "import ctypes, os\ndef f():\n    ctypes.CDLL(None).printf(b'%d;', 12)\n    os.write(1, b'first;')"
    )
    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        guest = await launch(source)
        await guest.call()
        await guest.until(lambda: guest.stdout == "first;12;")


async def test_what_c_libraries_wrote_is_there_before_a_yielded_value(launch: Launcher) -> None:
    """As it is before a result."""
    source = "import ctypes\ndef f():\n    ctypes.CDLL(None).printf(b'no line')\n    yield 1\n    yield 2"
    guest = await launch(source, is_generator=True)
    await guest.started()
    guest.container.pause_output()
    token = guest.send(payload(), kind="generator", credit=1)
    await guest.until(lambda: guest.values(token) == [1])

    guest.container.drain_output()

    assert guest.stdout == "no line"


async def test_what_c_libraries_hold_is_written_at_the_end(launch: Launcher) -> None:
    """By exit hooks, and to files that were left open, even while a thread reads from one."""
    source = (
        "import atexit, ctypes, os, threading\nlibc = ctypes.CDLL(None)\nlibc.fopen.restype = ctypes.c_void_p\n"
        "libc.fdopen.restype = ctypes.c_void_p\natexit.register(libc.printf, b'bye')\n"
        "def f(path):\n    libc.fputs(b'kept', ctypes.c_void_p(libc.fopen(path.encode(), b'w')))\n"
        "    stuck = ctypes.c_void_p(libc.fdopen(os.pipe()[0], b'r'))\n"
        "    threading.Thread(target=libc.fgetc, args=(stuck,), daemon=True).start()"
    )
    guest = await launch(source)
    path = launch.folder / "left-open"
    await guest.value(str(path))

    assert (await guest.stop()).exit_code == 0
    assert guest.stdout == "bye"
    assert read_bytes(str(path)) == b"kept"


async def test_reading_standard_input_finds_it_empty(launch: Launcher) -> None:
    """Nobody can type into a container."""
    guest = await launch("import sys\ndef f(): return sys.stdin.read(), sys.stdin.buffer.read()")

    assert await guest.value() == ("", b"")
