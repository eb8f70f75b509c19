"""What containers write, and how it reaches the worker."""

import pytest

from support.guests import Launcher, payload

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


async def test_user_code_may_close_its_streams(launch: Launcher) -> None:
    """Its output is gone, and the container works on."""
    guest = await launch("import os\ndef f(x):\n    for fd in (0, 1, 2): os.close(fd)\n    return x")

    assert await guest.value(1) == 1

    result = await guest.call(2)
    assert result.error is not None
    assert result.error.type_name == "OSError"
    assert (await guest.stop()).exit_code == 0


async def test_reading_standard_input_finds_it_empty(launch: Launcher) -> None:
    """Nobody can type into a container."""
    guest = await launch("import sys\ndef f(): return sys.stdin.read(), sys.stdin.buffer.read()")

    assert await guest.value() == ("", b"")
